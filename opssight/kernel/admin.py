"""Admin pages whose rows, choices, filters and buttons follow the same permissions as console and API."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.contrib.admin.widgets import AdminSplitDateTime
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import FieldDoesNotExist, PermissionDenied, ValidationError
from django.db import models
from django.forms import ModelChoiceField, SplitDateTimeField
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from opssight.kernel import reads
from opssight.kernel.access import (
    Forbidden,
    RefusedByPolicy,
    Resource,
    decide,
    permitted,
    record_denial,
    refusal,
    resources,
)
from opssight.kernel.errors import Refusal
from opssight.kernel.pagination import BadCursor, Page, paginate
from opssight.kernel.refusals import record_refused_change

if TYPE_CHECKING:
    BaseAdmin = admin.ModelAdmin[Any]
else:
    BaseAdmin = admin.ModelAdmin


def _readable(model: type[models.Model]) -> Resource | None:
    return next((r for r in resources.values() if r.model is model and "read" in r.actions), None)


def _in_sight(model: type[models.Model], user: Any) -> models.QuerySet[Any]:
    """The rows of a related model that the reader may see; of a model without permissions, none."""
    resource, rows = _readable(model), model._default_manager.all()
    return permitted(rows, user, f"{resource.name}:read") if resource else rows.none()


class KeysetChangeList(ChangeList):
    """A list that is walked by "newer" and "older": nothing is counted, and page 1,000 costs what page 1 does."""

    def get_results(self, request: HttpRequest) -> None:
        order = [*(self.model_admin.ordering or ["-pk"])]
        if order[-1].lstrip("-") not in ("pk", "id"):
            order.append("pk")
        try:
            page = self.page(request, order)
        except BadCursor:
            raise IncorrectLookupParameters from None
        reads.note_list(self.model, len(page.rows))
        self.result_list: Any = page.rows
        self.result_count = self.full_result_count = len(page.rows)
        self.show_full_result_count = False
        self.show_admin_actions = bool(page.rows)
        self.can_show_all = self.multi_page = False
        self.paginator = None
        self.newer = page.newer and self.get_query_string({PAGE_VAR: page.newer})
        self.older = page.older and self.get_query_string({PAGE_VAR: page.older})

    def page(self, request: HttpRequest, order: list[str]) -> Page[Any]:
        return paginate(self.queryset, order, request.GET.get(PAGE_VAR), self.list_per_page)


class ScopedFilter(admin.RelatedFieldListFilter):
    """A filter by a related object, offering the ones in sight."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        rows = _in_sight(field.remote_field.model, request.user)[:200]
        return [(row.pk, str(row)) for row in rows]


class DateAndTime(AdminSplitDateTime):
    """Django's two fields, each with a name of its own: a label can belong to one field only."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        for field, part in zip(context["widget"]["subwidgets"], ("date", "time"), strict=True):
            field["attrs"]["aria-label"] = f"{name.replace('_', ' ').capitalize()}, {part}"
        return context


class AccountChoice(ModelChoiceField):  # type: ignore[type-arg]  # not subscriptable at run time
    """Names may be the same twice; addresses are not."""

    def label_from_instance(self, account: Any) -> str:
        return f"{account.name} ({account.email})" if account.name else str(account.email)


class GuardedAdmin(BaseAdmin):
    """`verbs` maps the admin's four to the resource's actions; one that is left out is refused.

    `ordering` must name fields that are never null, since the list is walked by their values. `task` is the heading
    under which the index lists the page; `console` the name of the console page of one object, if there is one.
    """

    resource: ClassVar[str]
    task: ClassVar[str] = "Records"
    console: ClassVar[str] = ""
    verbs: ClassVar[dict[str, str]] = {"view": "read"}
    list_per_page = 50
    sortable_by: ClassVar[tuple[str, ...]] = ()
    show_facets = admin.ShowFacets.NEVER  # a facet costs a count of the whole table each
    view_on_site = False
    formfield_overrides = {models.DateTimeField: {"form_class": SplitDateTimeField, "widget": DateAndTime}}

    def _may(self, verb: str, request: HttpRequest, obj: models.Model | None = None) -> bool:
        action = self.verbs.get(verb)
        return action is not None and decide(request.user, f"{self.resource}:{action}", obj).allowed

    @contextmanager
    def _naming(self, verb: str, request: HttpRequest) -> Iterator[None]:
        """Django's admin refuses without a word; this says which permission it was, so that it is told and recorded."""
        try:
            yield
        except PermissionDenied as bare:
            action = self.verbs.get(verb)
            if action is None or isinstance(bare, Forbidden):
                raise
            permission = f"{self.resource}:{action}"
            decision = decide(request.user, permission)
            if decision.allowed:  # so it was something else, which the page itself refuses
                raise
            raise refusal(request.user, decision, permission) from None

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        with self._naming("view", request):
            return super().changelist_view(request, extra_context)

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        changing = "change" if request.method == "POST" else "view"
        with self._naming(changing if object_id else "add", request):
            return super().changeform_view(request, object_id, form_url, extra_context)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> Any:
        with self._naming("delete", request):
            return super().delete_view(request, object_id, extra_context)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._may("view", request)

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self._may("view", request, obj)

    def has_view_or_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Every page shows rows, so changing without reading opens none."""
        return self._may("view", request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._may("add", request)

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self._may("change", request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return self._may("delete", request, obj)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return permitted(super().get_queryset(request), request.user, f"{self.resource}:read")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        obj = super().get_object(request, object_id, from_field)
        if obj is not None and request.method == "GET":
            reads.note_object(obj)
        return obj

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [self._scoped(item) for item in super().get_list_filter(request)]

    def _scoped(self, item: Any) -> Any:
        """A filter named by a relation gets the scoped choices; anything else stays as it is."""
        try:
            field = self.model._meta.get_field(item) if isinstance(item, str) else None
        except FieldDoesNotExist:
            field = None
        return (item, ScopedFilter) if field is not None and field.is_relation else item

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", _in_sight(db_field.remote_field.model, request.user))
        if db_field.remote_field.model is get_user_model():
            kwargs.setdefault("form_class", AccountChoice)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", _in_sight(db_field.remote_field.model, request.user))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        obj = context.get("original")
        if request.method == "POST" and (wrong := context["adminform"].form.errors):
            record_refused_change(
                request.user, 400, None, wrong, action="UPDATE" if obj else "CREATE", model=self.model, target=obj
            )
        if self.console and obj is not None:
            context["console_url"] = reverse(self.console, args=[obj.uid])
        return super().render_change_form(request, context, *args, **kwargs)

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


class ServedAdmin(GuardedAdmin):
    """An admin page whose changes go through services; what these refuse is said on the page, and nothing is saved."""

    task = "Who may do what"

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.remote_field.model is Group:  # no permission of its own: who gives rights may name any group
            kwargs["queryset"] = Group.objects.order_by("name")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (Forbidden, RefusedByPolicy):
            raise  # a denial: recorded, and answered as everywhere
        except (Refusal, ValidationError) as refusal:
            messages.error(request, _sentence(refusal))
            return redirect(request.get_full_path())

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().delete_view(request, *args, **kwargs)
        except (Forbidden, RefusedByPolicy):
            raise
        except Refusal as refusal:
            messages.error(request, _sentence(refusal))
            return redirect(request.get_full_path())

    def take_away(self, request: HttpRequest, obj: Any) -> None:
        raise NotImplementedError

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        self.take_away(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        for row in queryset:  # one by one, so that each is decided and leaves its entry
            try:
                self.take_away(request, row)
            except (Refusal, Forbidden) as refusal:
                record_denial(refusal)
                messages.error(request, f"{row}: {_sentence(refusal)}")


def _sentence(refusal: Exception) -> str:
    return " ".join(refusal.messages) if isinstance(refusal, ValidationError) else str(refusal)
