from typing import Any

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

from accounts.models import User, normalise_email
from opssight.kernel.access import check, decide, resources
from opssight.kernel.rest.filters import ChoiceIn, FilterSet, UidFilter, choices
from opssight.kernel.rest.serializers import StrictModelSerializer, Text
from opssight.kernel.rest.views import List, Resource, Retrieve, Update
from rbac import role_book, services
from rbac.explain import explain, find_object
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


class DenyFilter(RuleFilter):
    permission = django_filters.CharFilter()


class UnitFilter(FilterSet):
    kind = ChoiceIn(choices=choices(Unit.Kind))
    parent = UidFilter(field_name="parent__uid")


class Writes(Resource, List, Retrieve, Update):
    """Create, change and delete through one service each; the service decides, and the caller is `by`."""

    def _save(self, serializer: Any, instance: Any = None) -> Any:
        raise NotImplementedError

    def create(self, request: Request) -> Response:
        asked = self.get_serializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data, etag = self.represent(self._save(asked))
        address = reverse(f"{self.resource}-detail", args=[data["uid"]])
        return Response(data, status=status.HTTP_201_CREATED, headers={"ETag": etag, "Location": address})

    def perform_update(self, serializer: Any) -> None:
        serializer.instance = self._save(serializer, serializer.instance)


def _changed(serializer: Any, instance: Any, make: type[Model]) -> Any:
    row = instance if instance is not None else make()
    for name, value in serializer.validated_data.items():
        setattr(row, name, value)
    return row


class UnitViewSet(Writes):
    resource = "units"
    queryset = Unit.objects.select_related("parent")
    serializer_class = UnitSerializer
    filterset_class = UnitFilter

    def _save(self, serializer: Any, instance: Any = None) -> Unit:
        if instance is not None and set(serializer.validated_data) - {"name"}:
            raise ValidationError({"parent": "A unit can't be moved; only its name changes."})
        return services.save_unit(_changed(serializer, instance, Unit))


class RoleViewSet(Writes):
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
        return role_book.save_role(row, permissions=permissions, parents=parents)


class AssignmentViewSet(Writes):
    resource = "assignments"
    queryset = RoleAssignment.objects.select_related("user", "group", "role", "unit")
    serializer_class = AssignmentSerializer
    filterset_class = AssignmentFilter

    def _save(self, serializer: Any, instance: Any = None) -> RoleAssignment:
        return services.save_assignment(_changed(serializer, instance, RoleAssignment), by=self.request.user)  # type: ignore[arg-type]

    def destroy(self, request: Request, uid: str) -> Response:
        """Take the role away at once."""
        services.revoke_assignment(self.get_object(), by=request.user)  # type: ignore[arg-type]
        return Response(status=status.HTTP_204_NO_CONTENT)


class DenyViewSet(Writes):
    resource = "denies"
    queryset = DenyRule.objects.select_related("user", "group", "unit")
    serializer_class = DenySerializer
    filterset_class = DenyFilter

    def _save(self, serializer: Any, instance: Any = None) -> DenyRule:
        return services.save_deny(_changed(serializer, instance, DenyRule), by=self.request.user)  # type: ignore[arg-type]

    def destroy(self, request: Request, uid: str) -> Response:
        """Lift the deny."""
        services.remove_deny(self.get_object(), by=request.user)  # type: ignore[arg-type]
        return Response(status=status.HTTP_204_NO_CONTENT)


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
        obj = find_object(request.query_params.get("object", ""), action)
        if obj is not None and not _sees(request.user, obj):
            raise Http404
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


def _sees(asker: Any, obj: Model) -> bool:
    """Whether the object exists for the asker; an explanation must not tell of one that doesn't."""
    return any(
        decide(asker, f"{resource.name}:read", obj).allowed
        for resource in resources.values()
        if resource.model is type(obj) and "read" in resource.actions
    )


routes = [("units", UnitViewSet), ("roles", RoleViewSet), ("assignments", AssignmentViewSet), ("denies", DenyViewSet)]
