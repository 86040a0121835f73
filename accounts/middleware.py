from collections.abc import Callable
from uuid import UUID

from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse

from accounts.logins import devices, services
from accounts.logins.models import Login
from accounts.logins.services import LOGIN


class LoginMiddleware:
    """Ends a session whose row lets nobody in any more, at its very next request. The row is `request.login`."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if SESSION_KEY in request.session:  # anonymous visitors need no look-up
            login = self._login(request)
            if login is None:
                logout(request)
            else:
                request.login = login  # type: ignore[attr-defined]
                services.note_use(login, request)
        response = self.get_response(request)
        devices.set_cookie(request, response)
        return response

    @staticmethod
    def _login(request: HttpRequest) -> Login | None:
        """A session without a row was not begun by a whole sign-in, and is none."""
        try:
            uid = UUID(str(request.session[LOGIN]))
        except (KeyError, ValueError):
            return None
        return services.find_open(uid, request.session[SESSION_KEY])
