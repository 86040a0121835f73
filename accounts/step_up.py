"""The second factor once more, for what a borrowed screen must not do. Valid for a quarter of an hour."""

from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request

from opssight.kernel.access import STEP_UP_VALID, StepUpNeeded

KEY = "step_up_at"


class StepUpRequired(StepUpNeeded):
    """Asked for by what is done, whatever the policies say."""


def require_step_up_here(request: HttpRequest) -> None:
    """The same for a page: raises what leads to /step-up and back."""
    if not is_stepped_up(request):
        raise StepUpRequired("This needs your second factor again.")


def note_step_up(request: HttpRequest) -> None:
    """The factor was proved now: at sign-in, or again."""
    request.session[KEY] = timezone.now().timestamp()


def is_stepped_up(request: HttpRequest) -> bool:
    at = request.session.get(KEY, 0)
    return bool(at + STEP_UP_VALID.total_seconds() > timezone.now().timestamp())


def require_step_up(request: Request) -> None:
    """Raises StepUpRequired. A token can never step up: nobody stands behind it with a phone."""
    if request.auth is not None:
        raise StepUpRequired("This needs a person with a fresh second factor: sign in to the console for it.")
    if not is_stepped_up(request._request):
        raise StepUpRequired("This needs your second factor again. Open /step-up, then repeat the request.")
