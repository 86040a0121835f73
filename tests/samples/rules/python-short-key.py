from Crypto.PublicKey import RSA
from cryptography.hazmat.primitives.asymmetric import rsa


def bad():
    RSA.generate(1024)  # found
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)  # found


def good(bits):
    RSA.generate(3072)
    rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return rsa.generate_private_key(public_exponent=65537, key_size=4096)
