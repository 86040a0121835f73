"""The second factor once more, for what a borrowed screen must not do. Valid for a quarter of an hour."""

from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request

from opssight.kernel.access import STEP_UP_VALID, StepUpNeeded


class StepUpRequired(StepUpNeeded):
    """Asked for by what is done, whatever the policies say."""


def require_step_up_here(request: HttpRequest) -> None:
    """The same for a page: raises what leads to /step-up and back."""
    if not is_stepped_up(request):
        raise StepUpRequired("This needs your second factor again.")


def is_stepped_up(request: HttpRequest) -> bool:
    """By the row of the session, which knows when a factor was last proved in it."""
    login = getattr(request, "login", None)
    return login is not None and login.stepped_up_at + STEP_UP_VALID > timezone.now()


def require_step_up(request: Request) -> None:
    """Raises StepUpRequired. A token can never step up: nobody stands behind it with a phone."""
    if request.auth is not None:
        raise StepUpRequired("This needs a person with a fresh second factor: sign in to the console for it.")
    if not is_stepped_up(request._request):
        raise StepUpRequired("This needs your second factor again. Open /step-up, then repeat the request.")
