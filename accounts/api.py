"""`/api/v1/lockouts`: people whose sign-in is locked after failures, and letting them in again."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import services
from accounts.models import User
from opssight.kernel.rest.serializers import StrictModelSerializer
from opssight.kernel.rest.views import List, Resource, Retrieve


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


routes = [("lockouts", LockoutViewSet)]
