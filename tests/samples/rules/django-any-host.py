ALLOWED_HOSTS = ["ops.example", "*"]  # found


def good(settings):
    settings.ALLOWED_HOSTS = ["ops.example"]
