"""Whether a part of a page is asked for by the script, or the page by a person."""

from typing import Any, cast

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


def htmx(request: HttpRequest) -> HtmxDetails:
    """What django-htmx's middleware found in the headers; false where a person asks."""
    found: HtmxDetails = cast(Any, request).htmx
    return found
