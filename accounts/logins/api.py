from typing import Any

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.caller import caller
from accounts.logins import services
from accounts.logins.models import Login
from opssight.kernel.rest.serializers import StrictModelSerializer
from opssight.kernel.rest.views import List, Resource, Retrieve


class SessionSerializer(StrictModelSerializer):
    device = serializers.CharField(read_only=True, help_text="What the browser says of itself.")
    factors = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="What was proved, as in RFC 8176."
    )
    strength = serializers.CharField(source="level", read_only=True, help_text="Of the factor that it stands on.")
    is_current = serializers.BooleanField(read_only=True, help_text="Whether this request belongs to it.")

    class Meta:
        model = Login
        fields = [
            "uid",
            "kind",
            "device",
            "user_agent",
            "address",
            "factors",
            "strength",
            "is_new_device",
            "is_current",
            "started_at",
            "stepped_up_at",
            "last_seen_at",
            "idle_ends_at",
            "ends_at",
        ]
        read_only_fields = fields


class Ended(serializers.Serializer[Any]):
    ended = serializers.IntegerField(help_text="How many sessions that were.")


def _current(request: Request) -> Login | None:
    return getattr(request._request, "login", None)


class SessionViewSet(Resource, List, Retrieve):
    """The caller's own open sessions: of the console, and sign-ins for the API with the tokens they gave."""

    resource = "sessions"
    queryset = Login.objects.all()
    serializer_class = SessionSerializer

    def get_queryset(self) -> QuerySet[Any]:
        found: Any = super().get_queryset()
        current = _current(self.request)
        is_current = ExpressionWrapper(Q(pk=current.pk if current else 0), BooleanField())
        open_ones: QuerySet[Any] = found.open(at=timezone.now()).annotate(is_current=is_current)
        return open_ones.select_related("user")

    def destroy(self, request: Request, uid: str) -> Response:
        """End a session, and the tokens that came of it, at once."""
        services.revoke([self.get_object()])
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=None, responses=Ended)
    @action(detail=False, methods=["post"], url_path="revoke-others")
    def revoke_others(self, request: Request) -> Response:
        """End every other session of the account at once."""
        ended = services.revoke(services.others(caller(request), _current(request)).select_related("user"))
        return Response({"ended": ended})

    @classmethod
    def permission_for(cls, action: str) -> str:
        return "sessions:revoke" if action in ("destroy", "revoke_others") else super().permission_for(action)


routes = [("sessions", SessionViewSet)]
