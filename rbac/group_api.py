"""`/api/v1/groups`: who is in one holds what it holds."""

from typing import Any, ClassVar
from uuid import UUID

from django.contrib.auth.models import Group
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.caller import caller
from accounts.models import User
from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text
from opssight.kernel.rest.views import changed
from rbac import groups
from rbac.api import InSight, InTurn, Taken


class GroupSerializer(StrictModelSerializer):
    """A group is called by its name, in addresses as in assignments, denies and grants."""

    name = Text(max_length=150)
    members = serializers.SerializerMethodField(help_text="The uids of the accounts in it.")

    class Meta:
        model = Group
        fields = ["name", "members"]

    def get_members(self, group: Group) -> list[UUID]:
        return sorted(user.uid for user in group.user_set.all())

    def validate_name(self, name: str) -> str:
        group: Any = self.instance
        if Group.objects.filter(name=name).exclude(name=group.name if group else "").exists():
            raise ValidationError("There is a group with this name already.")
        return name


class MemberSerializer(StrictSerializer):
    user = InSight(User, "users")


class GroupViewSet(InTurn, Taken):
    resource = "groups"
    queryset: Any = GuardedQuerySet(Group).prefetch_related("user_set")
    serializer_class = GroupSerializer
    lookup_field = "name"
    lookup_url_kwarg = "key"
    lookup_value_converter = "str"
    takes: ClassVar[dict[str, set[str]]] = {"remove_member": {"user"}}

    @classmethod
    def permission_for(cls, action: str) -> str:
        return super().permission_for("update" if action in ("add_member", "remove_member") else action)

    def _save(self, serializer: Any, instance: Any = None) -> Group:
        return groups.save_group(changed(serializer, instance, Group), by=caller(self.request))

    def perform_destroy(self, group: Group) -> None:
        groups.delete_group(group, by=caller(self.request))

    @extend_schema(request=MemberSerializer, responses=GroupSerializer)
    @action(detail=True, methods=["post"], url_path="members")
    def add_member(self, request: Request, key: str) -> Response:
        """Put an account into the group. Only where the caller holds all that the group gives, and never themselves."""
        group = self.get_object()
        groups.add_member(group, self._account(request.data), by=caller(request))
        return Response(self.represent(self.get_object())[0])

    @extend_schema(
        request=None,
        responses={204: None},
        parameters=[OpenApiParameter("user", UUID, required=True, description="The uid of the account.")],
    )
    @add_member.mapping.delete
    def remove_member(self, request: Request, key: str) -> Response:
        """Take an account out of the group at once."""
        group = self.get_object()
        groups.remove_member(group, self._account(request.query_params.dict()), by=caller(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _account(self, data: Any) -> User:
        asked = MemberSerializer(data=data, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        user: User = asked.validated_data["user"]
        return user


routes = [("groups", GroupViewSet)]
