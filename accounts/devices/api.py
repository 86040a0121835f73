from typing import Any

from django.http import Http404
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.caller import caller
from accounts.devices import services, signed
from accounts.devices.models import Device
from accounts.step_up import StepUpRequired, is_stepped_up
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text
from opssight.kernel.rest.views import List, PublicView, Resource, Retrieve


class DeviceSerializer(StrictModelSerializer):
    class Meta:
        model = Device
        fields = [
            "uid",
            "name",
            "platform",
            "public_key",
            "registered_at",
            "revoked_at",
            "reported_at",
            "os_version",
            "disk_encryption",
            "firewall",
            "screen_lock",
        ]
        read_only_fields = fields


class NewDevice(StrictSerializer):
    name = Text(max_length=80)
    platform = serializers.ChoiceField(Device.Platform.choices)
    public_key = Text(min_length=43, max_length=43, help_text="Ed25519, 32 bytes in url-safe base64 without padding.")
    challenge = Text(max_length=400)
    signature = Text(
        min_length=86,
        max_length=86,
        help_text="By that key over `opssight-device\\n<challenge>\\n<public_key>\\n<uid of the account>`.",
    )


class Challenge(serializers.Serializer[Any]):
    challenge = serializers.CharField()
    account = serializers.UUIDField(help_text="The account that the signature names.")
    expires_in = serializers.IntegerField(help_text="Seconds.")


def _require_fresh_sign_in(request: Request) -> None:
    """A session or a JWT whose second factor is fresh: an API token has no sign-in behind it."""
    if not is_stepped_up(request._request):
        raise StepUpRequired("This needs a fresh second factor: open /step-up, or sign in anew by POST /tokens/jwt.")


class DeviceViewSet(Resource, List, Retrieve):
    """The caller's own devices. Registering one needs a second factor of the last 15 minutes."""

    resource = "devices"
    queryset = Device.objects.all()
    serializer_class = DeviceSerializer

    @extend_schema(request=None, responses=Challenge)
    @action(detail=False, methods=["post"])
    def challenge(self, request: Request) -> Response:
        """What the device signs to prove that it holds its key."""
        _require_fresh_sign_in(request)
        text = services.challenge_for(caller(request))
        seconds = int(services.CHALLENGE_VALID.total_seconds())
        return Response({"challenge": text, "account": request.user.uid, "expires_in": seconds})  # type: ignore[union-attr]

    @extend_schema(request=NewDevice, responses={201: DeviceSerializer})
    def create(self, request: Request) -> Response:
        """Register a device by its key."""
        _require_fresh_sign_in(request)
        asked = NewDevice(data=request.data)
        asked.is_valid(raise_exception=True)
        device = services.register(caller(request), **asked.validated_data)
        address = f"/api/v1/devices/{device.uid}"
        return Response(DeviceSerializer(device).data, status=status.HTTP_201_CREATED, headers={"Location": address})

    def destroy(self, request: Request, uid: str) -> Response:
        """Revoke a device at once; its key is never taken again."""
        device = self.get_object()
        if device.revoked_at is not None:
            raise Http404
        services.revoke(device)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @classmethod
    def permission_for(cls, action: str) -> str:
        return {"destroy": "devices:revoke", "challenge": "devices:create"}.get(action) or super().permission_for(
            action
        )


class PostureReport(StrictSerializer):
    jws = Text(
        max_length=signed.MOST,
        help_text=f'Compact JWS, header {{"alg":"EdDSA","kid":"<uid>","typ":"{signed.TYPE}"}}, payload canonical JSON '
        "with aud, device, reported_at (milliseconds), os_version, disk_encryption, firewall, screen_lock.",
    )


class Taken(serializers.Serializer[Any]):
    reported_at = serializers.DateTimeField()
    sound = serializers.BooleanField(help_text="Whether everything that it reports is on.")


class ReportView(PublicView):
    resource = "devices"
    public = "the device's signature is the permission"

    @extend_schema(request=PostureReport, responses=Taken)
    def post(self, request: Request) -> Response:
        """Report a device's posture, signed by its key. Each report's time must be later than the one before."""
        asked = PostureReport(data=request.data)
        asked.is_valid(raise_exception=True)
        device = services.take_report(asked.validated_data["jws"])
        return Response(Taken({"reported_at": device.reported_at, "sound": device.is_sound}).data)


routes = [("devices", DeviceViewSet)]

urlpatterns = [path("devices/reports", ReportView.as_view(), name="device-reports")]
