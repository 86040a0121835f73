"""Which models the trail follows, and which of their fields are secret or name a person."""

import hmac
from hashlib import sha256
from typing import Any

from auditlog.registry import auditlog
from django.conf import settings
from django.db.models import Model

_personal: dict[str, frozenset[str]] = {}


def fingerprint(value: str) -> str:
    """What the trail keeps of a secret: a keyed fingerprint, enough to see that it changed or came back."""
    return "••••" + hmac.new(settings.HASH_KEY.encode(), f"mask\0{value}".encode(), sha256).hexdigest()[:8]


def audited(
    model: type[Model],
    *,
    secret: tuple[str, ...] = (),
    personal: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    m2m: tuple[str, ...] = (),
) -> None:
    """Follow `model`: its creations, changes and deletions through the ORM become entries.

    `secret` fields are masked, `personal` ones kept apart, `ignore`d ones (leases, counters) left out.
    """
    auditlog.register(
        model,
        exclude_fields=list(ignore),
        mask_fields=list(secret),
        mask_callable="audit.registry.fingerprint",
        m2m_fields=set(m2m),
    )
    _personal[model._meta.label_lower] = frozenset(personal)


def split_personal(resource_type: str, changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Changes without and with personal fields; a personal field leaves null behind, so that it is known to exist."""
    personal = _personal.get(resource_type, frozenset())
    values = {field: value for field, value in changes.items() if field in personal}
    return {field: None if field in values else value for field, value in changes.items()}, values


def register_lower_apps() -> None:
    """The models of accounts and rbac, which stand below and can't name the trail."""
    from django.contrib.auth.models import Group

    from accounts.mfa.models import FactorReset, MessageDevice, Passkey, RecoveryCode, RecoveryDevice, TOTPDevice
    from accounts.models import SetupLink, User
    from accounts.sso.models import ClaimRule, Identity, Provider
    from accounts.tokens.models import SigningKey, Token
    from rbac.access.models import FactorRule, Policy, Zone
    from rbac.models import DenyRule, Role, RoleAssignment, RolePermission, Unit

    throttle = ("throttling_failure_timestamp", "throttling_failure_count")
    audited(User, secret=("password",), personal=("email", "name"), ignore=("last_login",), m2m=("groups",))
    audited(SetupLink, secret=("token_hash",))
    audited(TOTPDevice, secret=("secret_encrypted",), ignore=("last_step", "last_used_at", *throttle))
    audited(RecoveryDevice, ignore=throttle)
    audited(RecoveryCode, secret=("code_hash",))
    audited(
        Passkey, ignore=("last_used_at", "last_challenge", "sign_count", "backup_state", "public_key", "credential_id")
    )
    counted = ("sent_at", "sends", "sends_since", "code_hash", "code_expires_at", "last_used_at")
    audited(MessageDevice, secret=("address_encrypted",), ignore=(*counted, *throttle))
    audited(FactorReset)
    said = ("metadata", "metadata_at", "jwks", "jwks_at", "failed_at")
    audited(Provider, secret=("client_secret_encrypted",), ignore=said)
    audited(ClaimRule)
    audited(Identity, personal=("subject",), ignore=("claims_encrypted", "last_used_at"))
    audited(Token, secret=("secret_hash",), ignore=("last_used_at",))
    audited(SigningKey, secret=("private_encrypted",))
    audited(Group)
    audited(Unit)
    audited(Role, m2m=("parents",))
    audited(RolePermission)
    audited(RoleAssignment)
    audited(DenyRule)
    audited(Policy)
    audited(FactorRule)
    audited(Zone)
