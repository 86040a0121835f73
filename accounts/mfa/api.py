"""`/api/v1/mfa`: one's own second factors."""

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

import segno
from django.core.exceptions import ValidationError as ModelError
from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.mfa import codes, messages, passkeys, proof, resets, services
from accounts.mfa.models import FactorReset, MessageDevice, TOTPDevice
from accounts.models import User
from accounts.step_up import StepUpRequired, require_step_up
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text, uid
from opssight.kernel.rest.views import List, Resource, Retrieve

METHODS = ["totp", "sms", "email", "passkey"]


class FactorSerializer(serializers.Serializer[Any]):
    uid = serializers.UUIDField()
    method = serializers.ChoiceField(METHODS)
    name = serializers.CharField()
    strength = serializers.CharField(source="level", help_text="message, otp or passkey, the weakest first.")
    confirmed = serializers.BooleanField()
    readable = serializers.BooleanField(source="is_readable", help_text="Whether codes of it can be checked or sent.")
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField()


class FactorList(serializers.Serializer[Any]):
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = FactorSerializer(many=True)


class NewFactor(StrictSerializer):
    method = serializers.ChoiceField(METHODS)
    phone = Text(max_length=32, required=False, help_text="For sms: the number, with its country code.")


class BegunFactor(serializers.Serializer[Any]):
    uid = serializers.UUIDField()
    method = serializers.ChoiceField(METHODS)
    secret = serializers.CharField(required=False, help_text="totp: the secret in base32.")
    qr_code = serializers.CharField(required=False, help_text="totp: a PNG as data: address.")
    otpauth_url = serializers.CharField(required=False, help_text="totp: what the QR code says.")
    sent_to = serializers.CharField(required=False, help_text="sms and email: where a code was sent.")
    options = serializers.DictField(required=False, help_text="passkey: for navigator.credentials.create.")
    backup_codes = serializers.ListField(
        child=serializers.CharField(),
        help_text="Ten recovery codes, in this answer only; they replace earlier ones once it is confirmed.",
    )


class Confirmation(StrictSerializer):
    code = Text(max_length=32, required=False, help_text="The code that the app shows or the message said.")
    credential = serializers.DictField(required=False, help_text="passkey: the browser's answer, as toJSON() gives it.")
    name = Text(max_length=64, required=False, help_text="passkey: to tell it from others.")


class CodesLeft(serializers.Serializer[Any]):
    left = serializers.IntegerField()
    of = serializers.IntegerField()


class FreshCodes(serializers.Serializer[Any]):
    backup_codes = serializers.ListField(child=serializers.CharField(), help_text="In this answer only.")


class MfaViewSet(Resource):
    """One's own second factors. Changing them takes a session with a fresh proof: no token can."""

    resource = "mfa"
    queryset = TOTPDevice.objects.none()
    serializer_class = FactorSerializer

    @extend_schema(responses=FactorList)
    def list(self, request: Request) -> Response:
        """All of the caller's own, also those that wait to be confirmed. There are never many: it is one page."""
        rows = FactorSerializer(services.factors_of(_person(request), waiting=True), many=True).data
        return Response({"next": None, "previous": None, "results": rows})

    def retrieve(self, request: Request, uid: UUID) -> Response:
        return Response(FactorSerializer(_own(request, uid)).data)

    @extend_schema(request=NewFactor, responses={201: BegunFactor})
    def create(self, request: Request) -> Response:
        """Begin to set a factor up. It counts once it is confirmed."""
        user = _managing(request)
        asked = NewFactor(data=request.data)
        asked.is_valid(raise_exception=True)
        method, phone = asked.validated_data["method"], asked.validated_data.get("phone", "")
        if bool(phone) != (method == "sms"):
            raise ValidationError({"phone": "is needed for sms, and for nothing else."})
        begun = {**self._begin(request, user, method, phone), "method": method}
        begun["backup_codes"] = codes.fresh_codes(user, confirmed=False)
        address = reverse("mfa-detail", args=[begun["uid"]])
        return Response(BegunFactor(begun).data, status=status.HTTP_201_CREATED, headers={"Location": address})

    @staticmethod
    def _begin(request: Request, user: User, method: str, phone: str) -> dict[str, Any]:
        if method == "totp":
            app = services.begin_enrolment(user)
            png = segno.make(app.config_url, error="m").png_data_uri(scale=6, border=2)
            return {"uid": app.uid, "secret": app.secret, "otpauth_url": app.config_url, "qr_code": png}
        if method == "passkey":
            uid, options = passkeys.begin_making(request._request, user)
            return {"uid": uid, "options": options}
        try:
            device = messages.begin_enrolment(user, method, phone)
        except ModelError as error:
            raise ValidationError({"phone": error.messages}) from None
        messages.send_code(request._request, device)
        return {"uid": device.uid, "sent_to": device.shown_address}

    @extend_schema(request=Confirmation, responses=FactorSerializer)
    @action(detail=True, methods=["post"])
    def confirm(self, request: Request, uid: UUID) -> Response:
        """Prove the new factor: from now on it counts, and the recovery codes that came with it."""
        user = _managing(request)
        asked = Confirmation(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        if "credential" in data:
            device: Any = passkeys.finish_making(
                request._request, user, data["credential"], name=data.get("name", ""), uid=str(uid)
            )[0]
        else:
            device = self._confirm_code(request, user, uid, data.get("code", ""))
        codes.adopt_waiting(user)
        proof.after_adding(request._request, device)
        return Response(FactorSerializer(device).data)

    @staticmethod
    def _confirm_code(request: Request, user: User, uid: UUID, code: str) -> Any:
        waiting = _own(request, uid)
        if waiting.confirmed:
            raise services.WrongCode("This factor is confirmed already.")
        if not code:
            raise ValidationError({"code": "is needed."})
        if isinstance(waiting, MessageDevice):
            return messages.confirm_enrolment(request._request, user, waiting.channel, code)[0]
        return services.confirm_enrolment(user, code)[0]

    def destroy(self, request: Request, uid: UUID) -> Response:
        """Take a factor off at once; not the last one that lets the caller in. Every other session and every token
        ends, and this one too where it stands on that factor."""
        _managing(request)
        proof.remove(request._request, _own(request, uid))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(methods=["GET"], responses=CodesLeft)
    @extend_schema(methods=["POST"], request=None, responses={201: FreshCodes})
    @action(detail=False, methods=["get", "post"], url_path="recovery-codes")
    def recovery_codes(self, request: Request) -> Response:
        """How many recovery codes are left; or ten new ones, which end the old."""
        if request.method == "GET":
            return Response({"left": codes.codes_left(_person(request)), "of": codes.CODES})
        fresh = codes.renew_codes(_managing(request))
        return Response({"backup_codes": fresh}, status=status.HTTP_201_CREATED)

    @classmethod
    def permission_for(cls, action: str) -> str:
        return "me:read" if action in ("list", "retrieve") else "me:update"


# --- lost factors -------------------------------------------------------------------------------------------------


class ResetSerializer(StrictModelSerializer):
    user = uid(queryset=User.objects.all())
    asked_by = uid()
    decided_by = uid()

    class Meta:
        model = FactorReset
        fields = ["uid", "user", "note", "state", "asked_by", "asked_at", "decided_by", "decided_at"]
        read_only_fields = ["uid", "state", "asked_by", "asked_at", "decided_by", "decided_at"]
        validators: ClassVar[list[Any]] = []  # that there is one at a time, the service says in better words


class ResetViewSet(Resource, List, Retrieve):
    """Second factors that were lost: one person asks to take them off an account, another decides."""

    resource = "resets"
    queryset = FactorReset.objects.select_related("user", "asked_by", "decided_by")
    serializer_class = ResetSerializer

    def create(self, request: Request) -> Response:
        """Ask, and say how you made sure who it is. The account's mailbox is told."""
        require_step_up(request)
        asked = self.get_serializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user = asked.validated_data["user"]
        if not User.objects.permitted(request.user, "users:read").filter(pk=user.pk).exists():
            raise ValidationError({"user": "There is no such account that you may see."})
        reset = resets.ask_reset(user, note=asked.validated_data["note"], by=_person(request))
        address = reverse("resets-detail", args=[reset.uid])
        return Response(self.get_serializer(reset).data, status=status.HTTP_201_CREATED, headers={"Location": address})

    @extend_schema(request=None, responses=ResetSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, uid: UUID) -> Response:
        """Take every factor off and end every session; the owner gets a link to begin anew. Not by who asked."""
        return self._decide(request, resets.approve_reset)

    @extend_schema(request=None, responses=ResetSerializer)
    @action(detail=True, methods=["post"])
    def refuse(self, request: Request, uid: UUID) -> Response:
        """Leave everything as it is."""
        return self._decide(request, resets.refuse_reset)

    def _decide(self, request: Request, how: Callable[..., None]) -> Response:
        require_step_up(request)
        reset = self.get_object()
        how(reset, by=_person(request))
        reset.refresh_from_db()
        return Response(self.get_serializer(reset).data)

    @classmethod
    def permission_for(cls, action: str) -> str:
        return "resets:approve" if action == "refuse" else super().permission_for(action)


def _person(request: Request) -> User:
    assert isinstance(request.user, User)
    return request.user


def _managing(request: Request) -> User:
    if request.auth is not None:
        raise StepUpRequired("This needs a person with a fresh second factor: sign in to the console for it.")
    proof.require_to_manage(request._request)
    return _person(request)


def _own(request: Request, uid: UUID) -> Any:
    for factor in services.factors_of(_person(request), waiting=True):
        if factor.uid == uid:
            return factor
    raise Http404


routes = [("mfa", MfaViewSet), ("resets", ResetViewSet)]
