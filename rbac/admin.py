from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from accounts.caller import caller
from accounts.models import User
from opssight.kernel.access import grantable, permissions, permitted
from opssight.kernel.actor import current_request
from opssight.kernel.admin import ServedAdmin
from rbac import grants, groups, role_book, services
from rbac.models import DenyRule, Role, RoleAssignment, Unit


@admin.register(Unit)
class UnitAdmin(ServedAdmin):
    resource = "units"
    verbs = {"view": "read", "add": "create", "change": "update"}
    list_display = ["name", "kind", "parent"]
    ordering = ["name"]
    list_filter = ["kind"]
    list_select_related = ["parent"]
    search_fields = ["name"]
    fields = ["name", "kind", "parent"]

    def get_readonly_fields(self, request: HttpRequest, obj: Unit | None = None) -> list[str]:
        return ["kind", "parent"] if obj else []

    def save_model(self, request: HttpRequest, obj: Unit, form: Any, change: bool) -> None:
        services.save_unit(obj)


class RoleForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    grants = forms.MultipleChoiceField(label="Permissions", required=False, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = Role
        fields = ["name", "key", "description", "parents"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "grants" in self.fields:
            self.fields["grants"].choices = [(name, name) for name in permissions()]  # type: ignore[attr-defined]
            if self.instance.pk:
                self.initial["grants"] = self.instance.own_permissions


@admin.register(Role)
class RoleAdmin(ServedAdmin):
    resource = "roles"
    verbs = {"view": "read", "add": "create", "change": "update"}
    form = RoleForm
    list_display = ["name", "key", "description", "builtin"]
    ordering = ["name"]
    search_fields = ["name", "key"]

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        built_in = isinstance(obj, Role) and obj.builtin
        return not built_in and super().has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Role | None = None) -> Any:
        own = ["name", "key", "description", "parents"]
        return [*own, "grants"] if obj is None or self.has_change_permission(request, obj) else [*own, "effective"]

    def get_readonly_fields(self, request: HttpRequest, obj: Role | None = None) -> list[str]:
        return ["effective"]

    @admin.display(description="permissions, own and inherited")
    def effective(self, role: Role) -> str:
        return ", ".join(role.effects.order_by("permission").values_list("permission", flat=True))

    def save_model(self, request: HttpRequest, obj: Role, form: Any, change: bool) -> None:
        parents = list(form.cleaned_data.get("parents", ()))
        role_book.save_role(
            obj,
            permissions=set(form.cleaned_data.get("grants", ())),
            parents=parents,
            by=caller(request),
        )

    def save_related(self, request: Any, form: Any, formsets: Any, change: bool) -> None:
        """`save_role` has written the parents."""


class GroupForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Who joins and who leaves, rather than who is in: a page that was open meanwhile undoes nobody's change."""

    joining = forms.ModelMultipleChoiceField(User.objects.none(), required=False, label="Put in")
    leaving = forms.ModelMultipleChoiceField(User.objects.none(), required=False, label="Take out")

    class Meta:
        model = Group
        fields = ["name"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        request = current_request()
        people = User.objects.permitted(request and request.user, "users:read").order_by("email")
        for name in ("joining", "leaving"):
            if field := self.fields.get(name):  # a reader's form has none
                inside = people.filter(groups=self.instance.pk or 0)
                rows = inside if name == "leaving" else people.exclude(pk__in=inside.values("pk"))
                field.queryset = rows  # type: ignore[attr-defined]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        try:
            groups.check_name(name)
        except ValidationError as error:
            raise ValidationError(error.messages) from None
        return name


@admin.register(Group)
class GroupAdmin(ServedAdmin):
    resource = "groups"
    verbs = {"view": "read", "add": "create", "change": "update", "delete": "delete"}
    form = GroupForm
    list_display = ["name"]
    ordering = ["name"]
    search_fields = ["name"]
    readonly_fields = ["members", "holds"]

    def get_fields(self, request: HttpRequest, obj: Group | None = None) -> Any:
        changes = ["joining", "leaving"] if obj and self.has_change_permission(request, obj) else []
        return ["name", *(["members", *changes, "holds"] if obj else [])]

    @admin.display(description="members")
    def members(self, group: Group) -> str:
        return "\n".join(map(str, self._seen(group.user_set.order_by("email"), "users"))) or "Nobody that you may see."

    @admin.display(description="holds")
    def holds(self, group: Group) -> str:
        """Assignments, denies and grants, as far as the reader may see them."""
        request = current_request()
        rows: list[Any] = [
            *self._seen(group.assignments.select_related("role", "unit", "group"), "assignments"),
            *self._seen(group.denies.select_related("unit", "group"), "denies"),
        ]
        for table in grants.in_sight(request and request.user):
            if hasattr(table.model, "group_id"):
                rows += table.filter(group=group)
        return "\n".join(map(str, rows)) or "Nothing that you may see."

    def _seen(self, rows: QuerySet[Any], resource: str) -> QuerySet[Any]:
        request = current_request()
        return permitted(rows, request and request.user, f"{resource}:read")

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: bool) -> None:
        by: Any = request.user
        groups.save_group(obj, by=by)
        for user in form.cleaned_data.get("joining", ()):
            groups.add_member(obj, user, by=by)
        for user in form.cleaned_data.get("leaving", ()):
            groups.remove_member(obj, user, by=by)

    def take_away(self, request: HttpRequest, obj: Group) -> None:
        groups.delete_group(obj, by=caller(request))


@admin.register(RoleAssignment)
class RoleAssignmentAdmin(ServedAdmin):
    resource = "assignments"
    verbs = {"view": "read", "add": "create", "change": "update", "delete": "delete"}
    list_display = ["user", "group", "role", "unit", "valid_from", "valid_until", "source"]
    list_filter = ["role", "source", "unit"]
    list_select_related = ["user", "group", "role", "unit"]
    search_fields = ["user__email", "group__name", "reason"]
    fields = ["user", "group", "role", "unit", "valid_from", "valid_until", "reason", "source"]
    readonly_fields = ["source"]

    def save_model(self, request: HttpRequest, obj: RoleAssignment, form: Any, change: bool) -> None:
        services.save_assignment(obj, by=caller(request))

    def take_away(self, request: HttpRequest, obj: RoleAssignment) -> None:
        services.revoke_assignment(obj, by=caller(request))


@admin.register(DenyRule)
class DenyRuleAdmin(ServedAdmin):
    resource = "denies"
    verbs = {"view": "read", "add": "create", "change": "update", "delete": "delete"}
    list_display = ["user", "group", "permission", "unit", "valid_from", "valid_until"]
    list_filter = ["unit"]
    list_select_related = ["user", "group", "unit"]
    search_fields = ["user__email", "group__name", "permission", "reason"]
    fields = ["user", "group", "permission", "unit", "valid_from", "valid_until", "reason"]

    def save_model(self, request: HttpRequest, obj: DenyRule, form: Any, change: bool) -> None:
        services.save_deny(obj, by=caller(request))

    def take_away(self, request: HttpRequest, obj: DenyRule) -> None:
        services.remove_deny(obj, by=caller(request))


class PermissionChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # not subscriptable at run time
    def label_from_instance(self, row: Any) -> str:
        return str(row.codename)


class GrantAdmin(ServedAdmin):
    """Grants on single objects. Each subject whose objects carry them registers its two tables with this page."""

    resource = "grants"
    verbs = {"view": "read", "add": "create", "delete": "delete"}
    ordering = ["-pk"]
    list_select_related = True
    raw_id_fields = ("content_object",)  # of which there may be very many

    @property
    def _side(self) -> str:
        return "user" if hasattr(self.model, "user_id") else "group"

    def get_list_display(self, request: HttpRequest) -> Any:
        return [self._side, "given", "content_object", "valid_from", "valid_until", "granted_by"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = [self._side, "permission" if obj is None else "given", "content_object"]
        return [*shown, "valid_from", "valid_until", "reason", *(["granted_by"] if obj else [])]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["given", "granted_by"]

    @admin.display(description="permission")
    def given(self, grant: Any) -> str:
        return str(grant.permission.codename)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "permission":
            carrier: Any = self.model._meta.get_field("content_object").related_model
            rows = Permission.objects.filter(
                codename__in=grantable(carrier), content_type__app_label=carrier._meta.app_label
            )
            return PermissionChoice(rows.order_by("codename"))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        grants.save_grant(obj, by=caller(request))

    def take_away(self, request: HttpRequest, obj: Any) -> None:
        grants.revoke_grant(obj, by=caller(request))
