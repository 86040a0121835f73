"""The door at the edges: what a console view and an API view set need to state their permission.

An object out of sight is a 404; one in sight that may not be touched a 403.
"""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from django.conf import settings
from django.db import models
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, resolve_url
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from opssight.kernel.access import check, permitted

if TYPE_CHECKING:
    from rest_framework.views import APIView

View = Callable[..., HttpResponseBase]


# --- console views ------------------------------------------------------------------------------------------------


def is_signed_in(user: Any) -> bool:
    """Signed in with both factors. A session with the password alone is nobody."""
    return bool(user.is_authenticated and user.is_active and user.is_verified())


def guarded(permission: str) -> Callable[[View], View]:
    """A console view for people who hold `permission` somewhere; it narrows its rows with `.permitted()` itself."""

    def wrap(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not is_signed_in(request.user):
                return redirect(f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': request.get_full_path()})}")
            check(request.user, permission)
            return view(request, *args, **kwargs)

        answer.permission = permission  # type: ignore[attr-defined]
        return answer

    return wrap


def public(why: str) -> Callable[[View], View]:
    """Marks a view that needs no permission, and says why. The test of the URL map holds the list of them."""

    def wrap(view: View) -> View:
        view.public = why  # type: ignore[attr-defined]
        return view

    return wrap


# --- API ----------------------------------------------------------------------------------------------------------


class VerifiedSessionAuthentication(SessionAuthentication):
    """The console's session, if both factors stand behind it."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        user = getattr(request._request, "user", None)
        if user is None or not is_signed_in(user):
            return None
        self.enforce_csrf(request)
        return user, None

    def authenticate_header(self, request: Request) -> str:
        return "Session"  # makes an unauthenticated answer a 401 rather than a 403


class StatedPermission(BasePermission):
    """Each action of a view asks for `permission_for(action)`; a view that states none is refused."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not request.user.is_authenticated:
            return False
        if getattr(view, "action", "") is None:
            return True  # a method that the view does not have: answered with 405
        permission = getattr(view, "permission", None)
        if permission is None:
            return False
        check(request.user, permission)
        return True


_VERBS = {"list": "read", "retrieve": "read", "update": "update", "partial_update": "update", "destroy": "delete"}


class GuardedMixin:
    """A view set whose action `fix` on resource `findings` asks for findings:fix, and whose rows are the permitted."""

    resource: ClassVar[str]
    lookup_field = "uid"
    lookup_value_converter = "uuid"

    @classmethod
    def permission_for(cls, action: str) -> str:
        return f"{cls.resource}:{_VERBS.get(action, action)}"

    @property
    def permission(self) -> str | None:
        action: str | None = self.action  # type: ignore[attr-defined]
        return self.permission_for(action) if action else None

    def get_queryset(self) -> models.QuerySet[Any]:
        queryset = super().get_queryset()  # type: ignore[misc]
        request: Request = self.request  # type: ignore[attr-defined]
        return permitted(queryset, request.user, f"{self.resource}:read")

    def check_object_permissions(self, request: Request, obj: models.Model) -> None:
        permission = self.permission
        if permission and not permission.endswith(":read"):  # reading was decided by get_queryset
            check(request.user, permission, obj)
