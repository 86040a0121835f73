import hashlib


def bad(data):
    hashlib.sha1(data)  # found
    return hashlib.md5(data)  # found


def good(data):
    hashlib.md5(data, usedforsecurity=False)
    return hashlib.sha256(data)
