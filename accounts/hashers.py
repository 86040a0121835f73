"""Argon2id at 19 MiB, two passes, one lane: OWASP's minimum, chosen because Django's 100 MiB let eight parallel
sign-ins take 4.7 s and 800 MiB (measured on two cores); this takes about 70 ms."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2id(Argon2PasswordHasher):
    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1
