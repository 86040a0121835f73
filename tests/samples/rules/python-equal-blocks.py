from Crypto.Cipher import AES
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def bad(key):
    AES.new(key, AES.MODE_ECB)  # found
    return Cipher(algorithms.AES(key), modes.ECB())  # found


def good(key, nonce):
    AES.new(key, AES.MODE_GCM)
    return Cipher(algorithms.AES(key), modes.GCM(nonce))
