"""What import-linter can't see: string foreign keys, and the registries that hold the ladder together."""

from django.apps import apps
from django.conf import settings
from django.db.models import ForeignKey, ManyToManyField, Model

from opssight.kernel import access, events
from rbac.roles import BUILTIN

LADDER = ["django", "accounts", "rbac", "audit", "scanning", "compliance", "opssight"]


def rung(model: type[Model]) -> int:
    top = model.__module__.partition(".")[0]
    return LADDER.index(top) if top in LADDER else 0


def test_foreign_keys_point_down():
    ours = [model for model in apps.get_models() if rung(model)]
    upward = [
        f"{model._meta.label}.{field.name} -> {field.related_model._meta.label}"
        for model in ours
        for field in model._meta.get_fields()
        if isinstance(field, ForeignKey | ManyToManyField) and rung(field.related_model) > rung(model)
    ]
    assert upward == []


def test_events_are_registered_once_and_named_in_the_past():
    assert sorted(events.registry) == [
        "access:denied",
        "access:step_up_asked",
        "accounts:activated",
        "accounts:created",
        "accounts:deactivated",
        "accounts:locked",
        "accounts:unlocked",
        "assets:tool_retired",
        "assets:tool_returned",
        "assets:uploaded",
        "assignments:changed",
        "changes:refused",
        "claim-rules:changed",
        "commands:run",
        "controls:evaluated",
        "controls:failed",
        "controls:lost",
        "controls:recovered",
        "decisions:closed",
        "decisions:made",
        "decisions:reopened",
        "denies:lifted",
        "denies:made",
        "devices:posture_changed",
        "devices:registered",
        "devices:report_refused",
        "devices:revoked",
        "factor-rules:changed",
        "field-keys:rotated",
        "findings:acceptance_asked",
        "findings:acceptance_refused",
        "findings:assigned",
        "findings:commented",
        "findings:deadline_moved",
        "findings:fixed",
        "findings:overdue",
        "findings:raised",
        "findings:reopened",
        "findings:rerated",
        "findings:restored",
        "findings:tagged",
        "findings:triaged",
        "findings:withdrawn",
        "findings:woken",
        "grants:made",
        "grants:revoked",
        "groups:member_added",
        "groups:member_removed",
        "imports:undone",
        "mfa:code_sent",
        "mfa:code_used",
        "mfa:codes_renewed",
        "mfa:enrolled",
        "mfa:refused",
        "mfa:removed",
        "mfa:reset_approved",
        "mfa:reset_asked",
        "mfa:reset_refused",
        "mfa:stepped_up",
        "mfa:unreadable",
        "notices:failed",
        "passwords:changed",
        "passwords:reset_requested",
        "personal:collection_changed",
        "personal:revealed",
        "policies:changed",
        "providers:changed",
        "providers:removed",
        "records:exported",
        "records:listed",
        "records:read",
        "requests:failed",
        "roles:assigned",
        "roles:revoked",
        "scanners:install_failed",
        "scanners:install_requested",
        "scanners:installed",
        "scans:failed",
        "scans:finished",
        "scans:requested",
        "scans:started",
        "sessions:disowned",
        "sessions:ended",
        "sessions:new_device",
        "sessions:refused",
        "sessions:revoked",
        "sessions:started",
        "setup:issued",
        "setup:used",
        "signing-keys:rotated",
        "sla-policies:changed",
        "sla-policies:renewed",
        "sso:ended_by_provider",
        "sso:groups_changed",
        "sso:linked",
        "sso:logout_refused",
        "sso:other_ways_ended",
        "sso:refused",
        "sso:unlinked",
        "tokens:issued",
        "tokens:refreshed",
        "tokens:refused",
        "tokens:replayed",
        "tokens:revoked",
        "tokens:rotated",
        "trail:anchor_failed",
        "trail:anchor_recovered",
        "trail:exported",
        "trail:quarantined",
        "trail:recounted",
        "trail:reported",
        "trail:stopped",
        "trail:tampered",
        "trail:unattributed_change",
        "trail:verified",
        "zones:changed",
    ]


def test_resources_and_their_actions():
    assert {name: resource.actions for name, resource in access.resources.items()} == {
        "access": ("explain",),
        "admin": ("enter",),
        "assets": ("read", "create", "update"),
        "assignments": ("read", "create", "update", "delete"),
        "bulk-actions": ("read",),
        "bulk-log": ("read",),
        "checkpoints": ("read",),
        "collections": ("read", "create", "update"),
        "comments": ("read", "create"),
        "claim-rules": ("read", "create", "update", "delete"),
        "controls": ("read", "evaluate"),
        "imports": ("read", "create", "undo"),
        "identities": ("read", "update", "delete"),
        "providers": ("read", "create", "update", "delete"),
        "credentials": ("read", "revoke"),
        "decisions": ("read", "approve"),
        "sla-policies": ("read", "create", "update", "delete"),
        "devices": ("read", "create", "revoke"),
        "denies": ("read", "create", "update", "delete"),
        "factor-rules": ("read", "create", "update", "delete"),
        "findings": ("read", "triage"),
        "frameworks": ("read",),
        "grants": ("read", "create", "delete"),
        "groups": ("read", "create", "update", "delete"),
        "lockouts": ("read", "delete"),
        "logins": ("read", "revoke"),
        "managed-devices": ("read", "revoke"),
        "me": ("read", "update"),
        "message-devices": ("read",),
        "mfa": ("read",),
        "notices": ("read",),
        "passkeys": ("read",),
        "personal-details": ("read", "reveal"),
        "policies": ("read", "create", "update", "delete"),
        "resets": ("read", "create", "approve"),
        "results": ("read",),
        "roles": ("read", "create", "update"),
        "scanners": ("read", "install"),
        "scans": ("read", "create"),
        "schedules": ("read", "create", "update", "delete"),
        "service-accounts": ("read", "create", "update"),
        "sessions": ("read", "revoke"),
        "tokens": ("read", "create", "revoke"),
        "traces": ("read",),
        "trail": ("read", "report"),
        "units": ("read", "create", "update"),
        "users": ("read", "create", "update"),
        "zones": ("read", "create", "update", "delete"),
    }


def test_every_permission_is_held_by_a_builtin_role():
    held = set().union(*(permissions for _, _, _, permissions in BUILTIN.values()))
    assert held == set(access.permissions())


def test_a_second_registration_is_refused():
    for again in (lambda: events.register("findings:fixed"), lambda: access.register("findings", None, ["read"])):
        try:
            again()
        except ValueError as error:
            assert "twice" in str(error)
        else:
            raise AssertionError("registered twice")


# Models that the trail does not follow, each with its reason.
NOT_AUDITED = {
    "audit.auditentry": "the trail itself",
    "audit.auditpersonal": "the trail itself",
    "sealing.verification": "how the last verification ended; what it found has its entries",
    "rollups.daycount": "follows from the entries",
    "rollups.dayuser": "follows from the entries",
    "scanning.retiredtool": "assets:tool_retired and assets:tool_returned tell of it, about the asset",
    "sla.renewal": "a job; what it did to findings are events",
    "deadlines.warning": "what was told of a deadline; that one passed has its entry, findings:overdue",
    "counts.statecount": "follows from the findings",
    "counts.weekcount": "follows from the findings",
    "sealing.checkpoint": "the sealed trail itself",
    "sealing.delivery": "where its checkpoints went; the anchors have them",
    "sealing.leaf": "the sealed trail itself",
    "sealing.node": "the sealed trail itself",
    "sealing.pending": "its outbox",
    "access.accesstrace": "a log of its own, kept for 30 days; that there was a refusal has its entry",
    "rbac.unitpath": "follows from units",
    "compliance.result": "written once; each is told by controls:evaluated",
    "compliance.resultrow": "written once, under the digest of its set",
    "compliance.rowset": "written once; its digest stands in controls:evaluated",
    "django_otp_webauthn.webauthnattestation": "not used: no attestation is asked for",
    "django_otp_webauthn.webauthncredential": "not used: mfa.Passkey takes its place",
    "django_otp_webauthn.webauthnuserhandle": "random bytes that name an account to authenticators",
    "guardian.groupobjectpermission": "guardian's generic table, not used",
    "guardian.userobjectpermission": "guardian's generic table, not used",
    "rbac.roleeffect": "follows from roles",
    "admin.logentry": "not written: the trail is the one record",
    "opssight.idempotencyrecord": "repeats of a request; what it did has its entries",
    "opssight.heartbeat": "signs of life",
    "auth.permission": "Django's rows, which grant nothing here",
    "contenttypes.contenttype": "follows from the code",
    "advisories.epssscore": "follows from an operator's file",
    "advisories.feed": "when such a file was read",
    "advisories.knownexploited": "follows from an operator's file",
    "scanning.findingalias": "an index of the findings' aliases",
    "imports.change": "how findings were before an import; what it did to them are events",
    "triage.bulkchange": "how findings were before a bulk action; what it did to them are events",
    "triage.savedview": "bookmarks of the queue; what is looked at through them has its entries",
    "triage.tag": "findings:tagged has the words",
    "tokens.family": "issued, refreshed and replayed tokens are events",
    "notify.notice": "a log of its own, kept for 90 days; one that failed is an event",
    "notify.delivery": "a part of that log",
    "logins.login": "started, revoked and ended ones are events",
    "sso.attempt": "a state that waits to be used; what came of it is an event",
    "sso.logouttoken": "what was seen once; logouts are events",
    "sso.membership": "sso:groups_changed names them",
    "sso.providerlogin": "beside logins.login",
    "sessions.session": "started and ended sessions are events",
    "axes.accessattempt": "a counter; failures are events",
    "axes.accesslog": "not written",
    "axes.accessfailurelog": "not written",
    "axes.accessattemptexpiration": "a counter; failures are events",
}


def test_every_model_is_followed_by_the_trail_or_excused():
    from auditlog.registry import auditlog

    models = {model._meta.label_lower for model in apps.get_models()}
    followed = {model._meta.label_lower for model in auditlog.get_models()}
    assert models - followed == NOT_AUDITED.keys() & models
    assert models == followed | NOT_AUDITED.keys()


def test_no_packages_admin_is_registered_but_ours():
    from django.contrib import admin

    from opssight.kernel.admin import GuardedAdmin

    assert admin.site._registry
    assert all(isinstance(page, GuardedAdmin) for page in admin.site._registry.values())


def test_without_a_decider_everything_is_denied(olga, settings):
    assert access.decide(olga, "findings:read").allowed
    settings.OPSSIGHT_DECIDER = ""
    assert not access.decide(olga, "findings:read").allowed


def test_debug_is_off():
    assert settings.DEBUG is False
