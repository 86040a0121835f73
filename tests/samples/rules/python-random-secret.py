import random
import secrets


def bad(letters):
    token = "".join(random.choices(letters, k=20))  # found
    api_key = str(random.getrandbits(128))  # found
    return token, api_key


def good(letters):
    colour = random.choice(letters)
    token = secrets.token_urlsafe()
    return colour, token
