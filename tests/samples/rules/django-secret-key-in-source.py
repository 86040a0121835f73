import os

SECRET_KEY = "django-insecure-0123456789"  # found
SECRET_KEY = os.environ["SECRET_KEY"]
SECRET_KEY = ""
