from collections.abc import Callable

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse

EPOCH = "auth_epoch"


class SessionEpochMiddleware:
    """Ends a session whose account has since revoked all of them (`User.auth_epoch`), at its very next request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if EPOCH in request.session:  # anonymous visitors need no look-up
            user = request.user
            if user.is_authenticated and request.session[EPOCH] != user.auth_epoch:
                logout(request)
        return self.get_response(request)
