"""The web application that granian serves."""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opssight.settings.prod")
application = get_wsgi_application()

# Django loads the URL map with the first request. Loaded here, a broken one stops the start, and nobody waits.
get_resolver().url_patterns  # noqa: B018
