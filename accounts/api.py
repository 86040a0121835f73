"""`/api/v1/users`: the accounts, to look up. `/api/v1/lockouts`: people whose sign-in is locked after failures, and
letting them in again."""

from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import services
from accounts.mfa.services import of_strength, with_strength
from accounts.models import User, normalise_email
from accounts.strength import NAMES
from opssight.kernel.rest.filters import ChoiceIn, FilterSet, YesNo, choices
from opssight.kernel.rest.serializers import StrictModelSerializer
from opssight.kernel.rest.views import List, Resource, Retrieve

STRENGTHS = ["none", *NAMES]


class UserSerializer(StrictModelSerializer):
    second_factor = serializers.SerializerMethodField(help_text="The strongest of a person; null for a service.")

    class Meta:
        model = User
        fields = ["uid", "kind", "email", "name", "is_active", "second_factor", "created_at", "last_login"]
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(STRENGTHS, allow_null=True))
    def get_second_factor(self, user: Any) -> str | None:
        return user.strength if user.kind == User.Kind.PERSON else None  # annotated by with_strength


class UserFilter(FilterSet):
    email = django_filters.CharFilter(method="of_email", help_text="The whole address, however it is written.")
    is_active = YesNo()
    kind = ChoiceIn(choices=choices(User.Kind))
    second_factor = django_filters.ChoiceFilter(
        choices=[(name, name) for name in STRENGTHS], method="of_strength", help_text="Of people: their strongest."
    )

    def of_email(self, rows: QuerySet[User], name: str, value: str) -> QuerySet[User]:
        return rows.filter(email=normalise_email(value))

    def of_strength(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return of_strength(rows, value)


class UserViewSet(Resource, List, Retrieve):
    """The accounts, each with its strongest second factor. They are made and changed in the admin."""

    resource = "users"
    queryset = User.objects.all()
    serializer_class = UserSerializer
    filterset_class = UserFilter

    def get_queryset(self) -> QuerySet[Any]:
        return with_strength(super().get_queryset())


class LockoutSerializer(StrictModelSerializer):
    class Meta:
        model = User
        fields = ["uid", "email", "name"]
        read_only_fields = fields


class LockoutViewSet(Resource, List, Retrieve):
    """People who can't sign in from at least one address for now; each lock ends by itself."""

    resource = "lockouts"
    queryset = User.objects.none()
    serializer_class = LockoutSerializer

    def get_queryset(self) -> Any:
        self.queryset = services.locked_accounts()
        return super().get_queryset()

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, uid: str) -> Response:
        """Lift the lock at once, from every address."""
        services.unlock(self.get_object())
        return Response(status=status.HTTP_204_NO_CONTENT)


routes = [("users", UserViewSet), ("lockouts", LockoutViewSet)]
