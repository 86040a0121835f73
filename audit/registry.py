"""Which models the trail follows; what may be kept of their fields is said here too (see `audit.followed`)."""

from typing import Any

from auditlog.registry import auditlog
from django.db import models

from audit import capture
from audit.followed import Followed, follow, suggests_secret
from opssight.kernel import reads

# Types whose values are numbers, moments, keys of rows: nothing that a secret could be written into.
_TYPED = (
    models.BooleanField,
    models.DateField,
    models.DecimalField,
    models.DurationField,
    models.FloatField,
    models.ForeignKey,
    models.IntegerField,
    models.TimeField,
    models.UUIDField,
)


def audited(
    model: type[models.Model],
    *,
    plain: tuple[str, ...] = (),
    secret: tuple[str, ...] = (),
    personal: tuple[str, ...] = (),
    ignore: tuple[str, ...] = (),
    m2m: tuple[str, ...] = (),
    beside: tuple[str, ...] = (),
    reads_too: bool = False,
) -> None:
    """Follow `model`: its creations, changes and deletions through the ORM become entries.

    `plain` fields are kept as they are, `personal` ones apart, `secret` ones masked; `ignore`d are left out: leases
    and counters, and what events of the subject tell. `beside` are no fields, but names under which events in bulk
    tell of rows in other tables; they are kept as they are. With `reads_too`, a look at a row or a list is an entry as
    well. A name that is not a field is a ValueError.
    """
    concrete = {field.name: field for field in model._meta.concrete_fields if not field.primary_key}
    relations = {field.name for field in model._meta.many_to_many}
    wrong = {*plain, *secret, *personal, *ignore} - concrete.keys() | set(m2m) - relations
    if wrong:
        raise ValueError(f"audited({model.__name__}): no such field: {sorted(wrong)}")
    fields = {name: field for name, field in concrete.items() if name not in ignore}
    declared = {*plain, *personal} - {*secret}
    masked = frozenset(name for name, field in fields.items() if name not in declared and _is_free(field, name, secret))
    entry = Followed(model, fields, masked, frozenset(personal), frozenset(ignore), m2m, frozenset(beside))
    follow(entry)
    auditlog.register(model, exclude_fields=list(ignore), mask_fields=sorted(masked))
    capture.connect(entry)
    if reads_too:
        reads.sensitive.add(model)


def _is_free(field: "models.Field[Any, Any]", name: str, secret: tuple[str, ...]) -> bool:
    """Whether the field could hold a secret, as far as its type and name tell."""
    typed = isinstance(field, _TYPED) or bool(field.choices)
    return name in secret or not typed or suggests_secret(name)


def register_lower_apps() -> None:
    """The models of accounts and rbac, which stand below and can't name the trail."""
    from django.contrib.auth.models import Group

    from accounts.devices.models import Device
    from accounts.mfa.models import FactorReset, MessageDevice, Passkey, RecoveryCode, RecoveryDevice, TOTPDevice
    from accounts.models import SetupLink, User
    from accounts.notify.models import Preference
    from accounts.personal.models import Collection, PersonalDetails
    from accounts.sso.models import ClaimRule, Identity, Provider
    from accounts.tokens.models import ServiceAccount, SigningKey, Token
    from audit.models import AuditEntry
    from rbac.access.models import AccessTrace, FactorRule, Policy, Zone
    from rbac.models import DenyRule, Role, RoleAssignment, RolePermission, Unit

    throttle = ("throttling_failure_timestamp", "throttling_failure_count")
    audited(User, personal=("email", "name"), ignore=("last_login",), m2m=("groups",), reads_too=True)
    audited(ServiceAccount, personal=("email", "name"), ignore=("last_login",), reads_too=True)  # of the same table
    audited(SetupLink, reads_too=True)
    audited(TOTPDevice, plain=("name",), ignore=("last_step", "last_used_at", *throttle), reads_too=True)
    audited(RecoveryDevice, plain=("name",), ignore=throttle, reads_too=True)
    audited(RecoveryCode, reads_too=True)
    counted = ("last_used_at", "last_challenge", "sign_count", "backup_state", "public_key", "credential_id")
    audited(Passkey, plain=("name",), ignore=counted, reads_too=True)
    counted = ("sent_at", "sends", "sends_since", "code_hash", "code_expires_at", "last_used_at")
    audited(MessageDevice, plain=("name",), ignore=(*counted, *throttle), reads_too=True)
    audited(FactorReset, plain=("note",), reads_too=True)
    audited(
        Device, plain=("name",), ignore=("reported_ms", "reported_at", "os_version", *Device.CHECKS), reads_too=True
    )
    audited(Preference, plain=("kind",))
    audited(PersonalDetails, ignore=("changed_at",), reads_too=True)
    audited(Collection, plain=("reason",))
    said = ("metadata", "metadata_at", "jwks", "jwks_at", "failed_at")
    where = ("issuer", "authorize_url", "token_url", "userinfo_url", "emails_url", "scope", "subject_claim")
    what = ("name", "slug", "client_id", "domains", "factor_values", *where)
    audited(Provider, plain=what, ignore=said, reads_too=True)
    audited(ClaimRule, plain=("claim", "value"))
    audited(Identity, personal=("subject",), ignore=("claims_encrypted", "last_used_at"), reads_too=True)
    audited(Token, plain=("name", "key", "scopes"), ignore=("last_used_at",), reads_too=True)
    audited(SigningKey, plain=("kid", "algorithm"), reads_too=True)
    audited(Group, plain=("name",))
    audited(Unit, plain=("name",))
    audited(Role, plain=("key", "name", "description"), m2m=("parents",))
    audited(RolePermission, plain=("permission",))
    audited(RoleAssignment, plain=("reason",), reads_too=True)
    audited(DenyRule, plain=("permission", "reason"), reads_too=True)
    audited(Policy, plain=("name", "resource", "action", "condition", "reason"))
    audited(FactorRule)
    audited(Zone, plain=("name", "networks"))
    reads.sensitive |= {AccessTrace, AuditEntry}
    reads.quiet.add(AuditEntry)
