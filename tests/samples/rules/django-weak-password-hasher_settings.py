PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # found
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.MD5PasswordHasher",
]
