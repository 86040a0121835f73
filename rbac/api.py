from datetime import datetime
from typing import Any
from uuid import UUID

import django_filters
from django.contrib.auth.models import Group
from django.db.models import Model
from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.caller import caller
from accounts.models import User, normalise_email
from opssight.kernel.access import check, resources
from opssight.kernel.rest.filters import ChoiceIn, FilterSet, UidFilter, choices
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text
from opssight.kernel.rest.views import Delete, Resource, Retrieve, Writes, changed
from rbac import grants, role_book, services
from rbac.explain import effective, explain, find_object
from rbac.models import DenyRule, Role, RoleAssignment, Unit


class InSight(serializers.SlugRelatedField[Any]):
    """A related object by its uid, among those that the caller may read."""

    def __init__(self, model: type[Model], resource: str, **kwargs: Any) -> None:
        self.permission = f"{resource}:read"
        super().__init__(slug_field="uid", queryset=model._default_manager.all(), **kwargs)

    def get_queryset(self) -> Any:
        rows: Any = super().get_queryset()
        return rows.permitted(self.context["request"].user, self.permission)


class UnitSerializer(StrictModelSerializer):
    parent = InSight(Unit, "units")  # type: ignore[assignment]  # DRF's metaclass takes it

    class Meta:
        model = Unit
        fields = ["uid", "name", "kind", "parent"]
        read_only_fields = ["uid"]
        validators: list[Any] = []


class RoleSerializer(StrictModelSerializer):
    permissions = serializers.ListField(child=Text(max_length=64), max_length=200, source="own_permissions")
    parents = InSight(Role, "roles", many=True, required=False)
    effective = serializers.SerializerMethodField(help_text="Own and inherited.")

    class Meta:
        model = Role
        fields = ["uid", "key", "name", "description", "builtin", "permissions", "parents", "effective"]
        read_only_fields = ["uid", "builtin"]

    def get_effective(self, role: Role) -> list[str]:
        return sorted(effect.permission for effect in role.effects.all())


class RuleSerializer(StrictModelSerializer):
    """What assignments and denies share: for whom, where, when and why."""

    user = InSight(User, "users", required=False, allow_null=True)
    group = serializers.SlugRelatedField(
        slug_field="name", queryset=Group.objects.all(), required=False, allow_null=True
    )
    unit = InSight(Unit, "units")
    reason = Text(max_length=300)


class AssignmentSerializer(RuleSerializer):
    role = serializers.SlugRelatedField(slug_field="key", queryset=Role.objects.all())

    class Meta:
        model = RoleAssignment
        fields = ["uid", "user", "group", "role", "unit", "valid_from", "valid_until", "source", "reason"]
        read_only_fields = ["uid", "source"]


class DenySerializer(RuleSerializer):
    permission = Text(max_length=64)

    class Meta:
        model = DenyRule
        fields = ["uid", "user", "group", "permission", "unit", "valid_from", "valid_until", "reason"]
        read_only_fields = ["uid"]


class RuleFilter(FilterSet):
    user = UidFilter(field_name="user__uid")
    group = django_filters.CharFilter(field_name="group__name")
    unit = UidFilter(field_name="unit__uid")
    ends_before = django_filters.IsoDateTimeFilter(field_name="valid_until", lookup_expr="lt")


class AssignmentFilter(RuleFilter):
    role = django_filters.CharFilter(field_name="role__key")
    unused_since = django_filters.IsoDateTimeFilter(method="by_use")

    def by_use(self, rows: Any, name: str, since: datetime) -> Any:
        return rows.unused(since=since)


class DenyFilter(RuleFilter):
    permission = django_filters.CharFilter()


class UnitFilter(FilterSet):
    kind = ChoiceIn(choices=choices(Unit.Kind))
    parent = UidFilter(field_name="parent__uid")


class InTurn(Writes):
    """Changes of rights, which follow one another: the turn comes before the lock of the row."""

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with services.in_turn():
            return super().partial_update(request, *args, **kwargs)


class Taken(Delete):
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with services.in_turn():
            return super().destroy(request, *args, **kwargs)


class UnitViewSet(Writes):
    resource = "units"
    queryset = Unit.objects.select_related("parent")
    serializer_class = UnitSerializer
    filterset_class = UnitFilter

    def _save(self, serializer: Any, instance: Any = None) -> Unit:
        if instance is not None and set(serializer.validated_data) - {"name"}:
            raise ValidationError({"parent": "A unit can't be moved; only its name changes."})
        return services.save_unit(changed(serializer, instance, Unit))


class RoleViewSet(InTurn):
    resource = "roles"
    queryset: Any = Role.objects.prefetch_related("permissions", "parents", "effects")
    serializer_class = RoleSerializer

    def _save(self, serializer: Any, instance: Any = None) -> Role:
        data = dict(serializer.validated_data)
        row: Any = instance or Role()
        permissions = set(data.pop("own_permissions", row.own_permissions if instance else []))
        parents = data.pop("parents", list(row.parents.all()) if instance else [])
        for name, value in data.items():
            setattr(row, name, value)
        return role_book.save_role(row, permissions=permissions, parents=parents, by=caller(self.request))


class AssignmentViewSet(InTurn, Taken):
    resource = "assignments"
    queryset = RoleAssignment.objects.select_related("user", "group", "role", "unit")
    serializer_class = AssignmentSerializer
    filterset_class = AssignmentFilter

    def _save(self, serializer: Any, instance: Any = None) -> RoleAssignment:
        return services.save_assignment(changed(serializer, instance, RoleAssignment), by=caller(self.request))

    def perform_destroy(self, assignment: RoleAssignment) -> None:
        services.revoke_assignment(assignment, by=caller(self.request))


class DenyViewSet(InTurn, Taken):
    resource = "denies"
    queryset = DenyRule.objects.select_related("user", "group", "unit")
    serializer_class = DenySerializer
    filterset_class = DenyFilter

    def _save(self, serializer: Any, instance: Any = None) -> DenyRule:
        return services.save_deny(changed(serializer, instance, DenyRule), by=caller(self.request))

    def perform_destroy(self, deny: DenyRule) -> None:
        services.remove_deny(deny, by=caller(self.request))


class ExplanationSerializer(serializers.Serializer[Any]):
    allowed = serializers.BooleanField()
    account = serializers.CharField()
    permission = serializers.CharField()
    object = serializers.CharField()
    reasons = serializers.ListField(child=serializers.CharField())
    near_misses = serializers.ListField(child=serializers.CharField())
    would_change = serializers.ListField(child=serializers.CharField())
    obligations = serializers.ListField(child=serializers.CharField())
    conditions = serializers.ListField(
        child=serializers.CharField(), help_text="Policies that may refuse it, depending on the request."
    )


class ExplainViewSet(Resource):
    """Why an account may or may not. About oneself it needs nothing; about others `access:explain`."""

    resource = "me"
    queryset = User.objects.none()
    serializer_class = ExplanationSerializer
    takes = {"read": {"user", "action", "object"}}

    @extend_schema(
        operation_id="explain",
        responses=ExplanationSerializer,
        parameters=[
            OpenApiParameter("action", str, required=True, description="resource:action"),
            OpenApiParameter("object", str, description="The uid of one object."),
            OpenApiParameter("user", str, description="The e-mail of another account; asks for `access:explain`."),
        ],
    )
    def read(self, request: Request) -> Response:
        """Yes or no, the path to it, what came close, and what would change it."""
        user, action = (
            asked_about(request.user, request.query_params.get("user", "")),
            request.query_params.get("action"),
        )
        if not action:
            raise ValidationError({"action": "must be given, such as findings:read."})
        obj = find_object(request.query_params.get("object", ""), action, asker=request.user)
        return Response(ExplanationSerializer(explain(user, action, obj).as_dict()).data)


def asked_about(asker: Any, email: str) -> User:
    """The account a question is about: the asker's own, or with access:explain another one."""
    if not email or normalise_email(email) == asker.email:
        found: User = asker
        return found
    check(asker, "access:explain")
    other = User.objects.filter(email=normalise_email(email)).first()
    if other is None:
        raise ValidationError({"user": "There is no account with this e-mail."})
    return other


class HeldSerializer(serializers.Serializer[Any]):
    permission = serializers.CharField()
    denied = serializers.BooleanField(help_text="A deny, which beats whatever grants it.")
    at = serializers.CharField(help_text="The unit, which counts with all below it; or one object alone.")
    role = serializers.CharField()
    via = serializers.CharField(help_text="The role that the permission comes from: the same one, or a parent.")
    group = serializers.CharField()
    until = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField()


class HoldingsSerializer(serializers.Serializer[Any]):
    account = serializers.CharField()
    holds = HeldSerializer(many=True)


class HoldingsViewSet(Resource):
    """Everything an account holds now. About oneself it needs nothing; about others `access:explain`."""

    resource = "me"
    queryset = User.objects.none()
    serializer_class = HoldingsSerializer
    takes = {"read": {"user"}}

    @extend_schema(
        operation_id="explain_holdings",
        responses=HoldingsSerializer,
        parameters=[OpenApiParameter("user", str, description="The e-mail of another account.")],
    )
    def read(self, request: Request) -> Response:
        """Each permission with its origin: denies first, then roles, then grants on single objects."""
        user = asked_about(request.user, request.query_params.get("user", ""))
        return Response(HoldingsSerializer({"account": user.email, "holds": effective(user)}).data)


# --- grants on single objects -------------------------------------------------------------------------------------


class GrantSerializer(serializers.Serializer[Any]):
    uid = serializers.UUIDField()
    user = serializers.SerializerMethodField()
    group = serializers.SerializerMethodField()
    permission = serializers.CharField(source="permission.codename")
    object = serializers.UUIDField(source="content_object.uid")
    valid_from = serializers.DateTimeField()
    valid_until = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField()
    granted_by = serializers.UUIDField(source="granted_by.uid", allow_null=True, default=None)

    class Meta:
        fields: list[str] = []

    def get_user(self, grant: Any) -> UUID | None:
        return grant.user.uid if hasattr(grant, "user_id") else None

    def get_group(self, grant: Any) -> str | None:
        return grant.group.name if hasattr(grant, "group_id") else None


class NewGrant(StrictSerializer):
    user = InSight(User, "users", required=False, allow_null=True)
    group = serializers.SlugRelatedField(
        slug_field="name", queryset=Group.objects.all(), required=False, allow_null=True
    )
    permission = Text(max_length=64)
    object = serializers.UUIDField(help_text="The uid of the object; the permission says of what kind.")
    valid_from = serializers.DateTimeField(required=False)
    valid_until = serializers.DateTimeField(required=False, allow_null=True)
    reason = Text(max_length=300)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        if (data.get("user") is None) == (data.get("group") is None):
            raise ValidationError({"user": "Give a user or a group, and not both."})
        return data


class GrantFilter(FilterSet):
    user = UidFilter(method="by_user")
    group = django_filters.CharFilter(method="by_group")
    object = UidFilter(field_name="content_object__uid")
    permission = django_filters.CharFilter(field_name="permission__codename")
    ends_before = django_filters.IsoDateTimeFilter(field_name="valid_until", lookup_expr="lt")

    def by_user(self, rows: Any, name: str, uid: UUID) -> Any:
        return rows.filter(user__uid=uid) if hasattr(rows.model, "user_id") else rows.none()

    def by_group(self, rows: Any, name: str, group: str) -> Any:
        return rows.filter(group__name=group) if hasattr(rows.model, "group_id") else rows.none()


class GrantViewSet(Resource, Retrieve, Taken):
    """One permission on one object, for an exception that no role fits. Made and revoked, never changed."""

    resource = "grants"
    queryset = User.objects.none()  # they stand in several tables, which `grants.in_sight` gives
    serializer_class = GrantSerializer
    filterset_class = GrantFilter
    page_order = ["-uid"]

    def list(self, request: Request) -> Response:
        found = grants.Rows([self.filter_queryset(rows) for rows in grants.in_sight(request.user)])
        page = self.paginate_queryset(found)  # type: ignore[arg-type]
        return self.get_paginated_response(GrantSerializer(page, many=True).data)

    @extend_schema(request=NewGrant, responses={201: GrantSerializer})
    def create(self, request: Request) -> Response:
        """Grant it. Only what the caller holds where the object sits, and never to themselves."""
        asked = NewGrant(data=request.data, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        grant = grants.grant_on_object(
            data.get("user") or data["group"],
            data["permission"],
            self._object(data["permission"], data["object"]),
            reason=data["reason"],
            since=data.get("valid_from"),
            until=data.get("valid_until"),
            by=caller(request),
        )
        address = reverse("grants-detail", args=[grant.uid])
        return Response(GrantSerializer(grant).data, status=status.HTTP_201_CREATED, headers={"Location": address})

    def perform_destroy(self, grant: Any) -> None:
        grants.revoke_grant(grant, by=caller(self.request))

    def get_object(self) -> Any:
        uid = self.kwargs["uid"]
        for rows in grants.in_sight(self.request.user):
            if found := rows.filter(uid=uid).first():
                return found
        raise Http404

    def _object(self, permission: str, uid: UUID) -> Any:
        model = grants.carrier_of(permission)
        readable = next(r for r in resources.values() if r.model is model and r.granted_on == "pk")
        obj = model._default_manager.permitted(self.request.user, f"{readable.name}:read").filter(uid=uid).first()
        if obj is None:
            raise ValidationError({"object": f"There is no {model._meta.verbose_name} with this uid that you may see."})
        return obj


routes = [
    ("units", UnitViewSet),
    ("roles", RoleViewSet),
    ("assignments", AssignmentViewSet),
    ("denies", DenyViewSet),
    ("grants", GrantViewSet),
]
