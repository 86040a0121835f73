"""The door at the edges: what a console view, an API view set and an admin page need to state their permission.

An object out of sight is a 404; one in sight that may not be touched a 403.
"""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, resolve_url
from django.urls import reverse
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from opssight.kernel.access import check, decide, permitted, resources

if TYPE_CHECKING:
    from rest_framework.views import APIView

    BaseAdmin = admin.ModelAdmin[Any]
else:
    BaseAdmin = admin.ModelAdmin

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


# --- admin --------------------------------------------------------------------------------------------------------


class GuardedAdmin(BaseAdmin):
    """An admin page whose rows, choices and buttons follow the same permissions as console and API.

    `verbs` maps the admin's four to the resource's actions; one that is left out is refused.
    """

    resource: ClassVar[str]
    verbs: ClassVar[dict[str, str]] = {"view": "read"}
    show_full_result_count = False
    list_per_page = 50

    def _may(self, verb: str, request: HttpRequest, obj: models.Model | None = None) -> bool:
        action = self.verbs.get(verb)
        return action is not None and decide(request.user, f"{self.resource}:{action}", obj).allowed

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._may("view", request)

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self._may("view", request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may("add", request)

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self._may("change", request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self._may("delete", request, obj)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return permitted(super().get_queryset(request), request.user, f"{self.resource}:read")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        target = db_field.remote_field.model
        readable = [r for r in resources.values() if r.model is target and "read" in r.actions]
        if readable and "queryset" not in kwargs:
            rows = target._default_manager.all()
            kwargs["queryset"] = permitted(rows, request.user, f"{readable[0].name}:read")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    # The trail is the one record of what happened: no second log beside it, and "history" leads there.

    def log_addition(self, *args: Any) -> Any: ...

    def log_change(self, *args: Any) -> Any: ...

    def log_deletions(self, *args: Any) -> Any: ...

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        about = {"resource_type": obj._meta.label_lower, "resource_id": str(getattr(obj, "uid", obj.pk))}
        return redirect(f"{reverse('trail')}?{urlencode(about)}")
