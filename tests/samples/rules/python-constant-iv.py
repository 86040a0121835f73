import os

from Crypto.Cipher import AES
from cryptography.hazmat.primitives.ciphers import modes


def bad(key):
    AES.new(key, AES.MODE_CBC, iv=b"0123456789abcdef")  # found
    return modes.CBC(b"0123456789abcdef")  # found


def good(key):
    AES.new(key, AES.MODE_CBC, iv=os.urandom(16))
    return modes.CBC(os.urandom(16))
