"""Passkeys (W3C WebAuthn): what the browser is asked for, and whether its answer holds.

The challenge waits in the session and is taken out before the answer is looked at. On a sign-in without a password the
device must have verified its user (by finger, face or PIN), so that it stands for both factors.
"""

import json
import struct
from datetime import timedelta
from typing import Any

from django.contrib.sessions.backends.base import UpdateError
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone
from django_otp_webauthn.exceptions import OTPWebAuthnApiError
from django_otp_webauthn.helpers import WebAuthnHelper
from django_otp_webauthn.models import WebAuthnUserHandle
from webauthn import base64url_to_bytes
from webauthn.helpers import parse_authentication_credential_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import ResidentKeyRequirement, UserVerificationRequirement

from accounts.mfa import services
from accounts.mfa.models import Passkey
from accounts.models import User
from opssight.kernel.errors import Refusal
from opssight.kernel.ids import new_uid

NEW, USE = "passkey_new", "passkey_use"  # keys of the session
PATIENCE = timedelta(minutes=5)
MAX_ANSWER = 20_000  # characters of JSON; a real answer has two or three thousand
MOST = 10  # passkeys of one account


class NotAccepted(Refusal):
    status = 400


# What reading an answer can end in: it is bytes from outside, in CBOR, COSE and JSON, taken apart by three libraries.
BROKEN = (
    WebAuthnException,
    OTPWebAuthnApiError,
    ObjectDoesNotExist,
    ValidationError,
    IntegrityError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    struct.error,
)

NOT_MADE = "The passkey could not be made: the answer of your browser does not fit. Start again."
NOT_RIGHT = "This passkey was not accepted. Start again, or use another way."


class Ceremony(WebAuthnHelper):
    """django-otp-webauthn's ceremonies, with what this installation asks of an authenticator."""

    def get_discoverable_credentials_preference(self) -> ResidentKeyRequirement:
        return ResidentKeyRequirement.REQUIRED

    def get_credential_display_name(self, user: Any) -> str:
        return user.name or user.email

    def get_generate_registration_options_kwargs(self, *, user: Any) -> dict[str, Any]:
        asked = super().get_generate_registration_options_kwargs(user=user)
        asked["authenticator_selection"].user_verification = UserVerificationRequirement.REQUIRED
        return asked

    def get_generate_authentication_options_kwargs(
        self, *, user: Any = None, require_user_verification: bool
    ) -> dict[str, Any]:
        """As the second factor a passkey need not verify its user again, but may: "discouraged" would skip it."""
        asked = super().get_generate_authentication_options_kwargs(
            user=user, require_user_verification=require_user_verification
        )
        if not require_user_verification:
            asked["user_verification"] = UserVerificationRequirement.PREFERRED
        return asked

    def create_attestation(self, credential: Any, attestation_object: bytes, client_data_json: bytes) -> Any:
        """None is asked for, so none is kept."""


def _remember(request: HttpRequest, key: str, state: dict[str, Any], **more: Any) -> None:
    request.session[key] = {**state, **more, "until": (timezone.now() + PATIENCE).timestamp()}


def _recall(request: HttpRequest, key: str) -> dict[str, Any] | None:
    """What was asked, once: taken out and saved before the answer is judged, so that no answer is judged twice."""
    kept: dict[str, Any] | None = request.session.pop(key, None)
    try:
        request.session.save()
    except UpdateError:  # a parallel request has ended this session
        return None
    return kept if kept and kept["until"] > timezone.now().timestamp() else None


def parsed(answer: Any) -> dict[str, Any]:
    """The browser's answer, from JSON text where a form sent it. NotAccepted where it is none."""
    if isinstance(answer, str):
        if len(answer) > MAX_ANSWER:
            raise NotAccepted(NOT_RIGHT)
        try:
            answer = json.loads(answer)
        except (ValueError, RecursionError):
            raise NotAccepted(NOT_RIGHT) from None
    if not isinstance(answer, dict):
        raise NotAccepted(NOT_RIGHT)
    return answer


# --- making -------------------------------------------------------------------------------------------------------


def begin_making(request: HttpRequest, user: User) -> tuple[str, dict[str, Any]]:
    """A uid for the passkey to come, and the options for `navigator.credentials.create`."""
    if Passkey.objects.filter(user=user).count() >= MOST:
        raise NotAccepted(f"You have {MOST} passkeys already. Take one off first.")
    options, state = Ceremony(request).register_begin(user)
    uid = str(new_uid())
    _remember(request, NEW, state, uid=uid, user=user.pk)
    return uid, options


def finish_making(
    request: HttpRequest, user: User, answer: Any, *, name: str, uid: str = ""
) -> tuple[Passkey, list[str]]:
    """The new passkey, counted from now on, and recovery codes to show where the account had none."""
    state = _recall(request, NEW)
    if state is None or state["user"] != user.pk or (uid and uid != state["uid"]):
        raise NotAccepted("This took longer than five minutes, or was begun elsewhere. Start again.")
    ceremony = Ceremony(request)
    try:
        with transaction.atomic():
            passkey = ceremony.register_complete(user, state, parsed(answer))
            passkey.uid, passkey.name = state["uid"], name or "passkey"
            passkey.full_clean(exclude=["public_key", "credential_id", "last_used_at"])
            passkey.save(update_fields=["uid", "name"])
            codes = services.confirm(passkey)
    except BROKEN:
        services.note_refusal(user, "passkey not made")
        raise NotAccepted(NOT_MADE) from None
    return passkey, codes


# --- using --------------------------------------------------------------------------------------------------------


def begin_use(request: HttpRequest, user: User | None) -> dict[str, Any]:
    """Options for `navigator.credentials.get`: for one account's passkeys, or for whichever the person picks."""
    ceremony = Ceremony(request)
    options, state = ceremony.authenticate_begin(user=user, require_user_verification=user is None)
    _remember(request, USE, state, user=user.pk if user else None)
    return options


def finish_use(request: HttpRequest, user: User | None, answer: Any) -> Passkey:
    """The passkey that answered. NotAccepted, in the same words, whatever was wrong."""
    state = _recall(request, USE)
    try:
        if state is None or state["user"] != (user.pk if user else None):
            raise NotAccepted("This took longer than five minutes, or was begun elsewhere. Start again.")
        return _checked(request, user, state, parsed(answer))
    except NotAccepted:
        services.note_refusal(user, "passkey not accepted")
        raise


def _checked(request: HttpRequest, user: User | None, state: dict[str, Any], answer: dict[str, Any]) -> Passkey:
    ceremony = Ceremony(request)
    try:
        with transaction.atomic():
            passkey = _named_by(ceremony, answer)
            if passkey.last_challenge == state["challenge"] or not _may_be_used(passkey, user, answer):
                raise NotAccepted(NOT_RIGHT)
            used: Passkey = ceremony.authenticate_complete(user=user, state=state, data=answer)
            used.last_challenge = state["challenge"]
            used.save(update_fields=["last_challenge"])
    except BROKEN:
        raise NotAccepted(NOT_RIGHT) from None
    return used


def _named_by(ceremony: Ceremony, answer: dict[str, Any]) -> Passkey:
    """The passkey of the answer, locked, so that parallel answers are judged one after the other."""
    credential = parse_authentication_credential_json(answer)
    digest = Passkey.get_credential_id_sha256(credential.raw_id)
    return Passkey.objects.select_for_update().select_related("user").get(credential_id_sha256=digest)


def _may_be_used(passkey: Passkey, user: User | None, answer: dict[str, Any]) -> bool:
    """Its account can sign in; and where the authenticator names an account, it is this one (WebAuthn §7.2, step 6)."""
    owner = passkey.user
    if not passkey.confirmed or not owner.is_active or owner.kind != User.Kind.PERSON:
        return False
    if user is not None and owner.pk != user.pk:
        return False
    named = answer.get("response", {}).get("userHandle")
    if named is None:
        return user is not None
    return base64url_to_bytes(named) == WebAuthnUserHandle.get_handle_for_user(owner)
