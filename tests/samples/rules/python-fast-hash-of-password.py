import hashlib


def bad(password, salt):
    hashlib.sha512(salt + password.encode()).hexdigest()  # found
    return hashlib.sha256(password.encode()).hexdigest()  # found


def good(password, salt, text):
    hashlib.sha256(text.encode())
    hashlib.sha1(password.encode(), usedforsecurity=False)
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
