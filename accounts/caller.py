"""Who asks, behind a door that lets nobody in who is not signed in."""

from typing import cast

from django.http import HttpRequest
from rest_framework.request import Request

from accounts.models import User


def caller(request: HttpRequest | Request) -> User:
    """The account of a guarded view's request. Django's types allow for nobody there, which the door does not."""
    return cast(User, request.user)
