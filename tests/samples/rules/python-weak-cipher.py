from Crypto.Cipher import AES, DES
from cryptography.hazmat.primitives.ciphers import algorithms


def bad(key):
    DES.new(key)  # found
    return algorithms.TripleDES(key)  # found


def good(key):
    AES.new(key, AES.MODE_GCM)
    return algorithms.AES(key)
