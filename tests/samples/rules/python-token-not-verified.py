import jwt


def bad(token, key):
    jwt.decode(token, options={"verify_signature": False})  # found
    jwt.decode(token, key, algorithms=["HS256", "none"])  # found
    return jwt.encode({}, "", algorithm="none")  # found


def good(token, key):
    jwt.decode(token, key, algorithms=["EdDSA"])
    return jwt.decode(token, key, algorithms=["EdDSA"], options={"verify_signature": True})
