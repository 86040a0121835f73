"""Compliance tags: for which frameworks an entry is evidence, from its event and from what was done to which model.

The table is data, reviewed as a whole. An entry keeps the tags that it was written with and the version of the table
that gave them; both are covered by its MAC. Clauses are named by their ids; what they show is in our own words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from auditlog.models import AbstractLogEntry

from audit.canonical import canonical

FRAMEWORKS = {
    "SOC2": "SOC 2, Trust Services Criteria 2017",
    "GDPR": "GDPR, Regulation (EU) 2016/679",
    "ISO27001": "ISO/IEC 27001:2022",
    "PCI_DSS": "PCI DSS 4.0.1",
}
READ = "read"  # the key of reading any object


@dataclass(frozen=True)
class Evidence:
    """What entries show, and which clauses of which framework that serves.

    `of` names events, models (their rows made, changed or removed), `read` for reading any object, or `<model>:read`.
    """

    shows: str
    of: tuple[str, ...]
    serves: Mapping[str, tuple[str, ...]]


EVIDENCE = (
    Evidence(
        "Who was let in, and that a second factor was asked for",
        (
            "sessions:started", "sessions:ended", "sessions:revoked", "sessions:new_device", "sessions:disowned",
            "mfa:stepped_up", "mfa:code_sent", "mfa:code_used", "access:step_up_asked", "tokens:refreshed",
            "sso:ended_by_provider", "sso:other_ways_ended",
        ),
        {"SOC2": ("CC6.1",), "ISO27001": ("A.8.5",), "PCI_DSS": ("8.4.2",)},
    ),
    Evidence(
        "Attempts that were refused",
        (
            "sessions:refused", "mfa:refused", "mfa:unreadable", "tokens:refused", "tokens:replayed", "accounts:locked",
            "accounts:unlocked", "access:denied", "changes:refused", "sso:refused", "sso:logout_refused",
            "devices:report_refused",
        ),
        {
            "SOC2": ("CC6.1", "CC7.2"),
            "GDPR": ("32(1)(b)",),
            "ISO27001": ("A.8.5", "A.8.16"),
            "PCI_DSS": ("10.2.1.4",),
        },
    ),
    Evidence(
        "How accounts begin, change and end",
        (
            "accounts:created", "accounts:activated", "accounts:deactivated", "setup:issued", "setup:used",
            "accounts.user", "accounts.setuplink", "tokens.serviceaccount", "sso:linked",
            "sso:unlinked", "sso.identity",
        ),
        {"SOC2": ("CC6.2",), "ISO27001": ("A.5.16",), "PCI_DSS": ("10.2.1.5",)},
    ),
    Evidence(
        "What was done with the personal data of people who have an account",
        (
            "accounts.user", "accounts.user:read", "personal:revealed", "personal:collection_changed",
            "personal.personaldetails", "personal.collection",
        ),
        {"GDPR": ("5(1)(f)", "5(2)")},
    ),
    Evidence(
        "Passwords, second factors and access tokens: made, renewed, withdrawn",
        (
            "passwords:changed", "passwords:reset_requested", "mfa:enrolled", "mfa:removed", "mfa:codes_renewed",
            "mfa:reset_asked", "mfa:reset_approved", "mfa:reset_refused", "tokens:issued", "tokens:rotated",
            "tokens:revoked", "signing-keys:rotated", "field-keys:rotated", "mfa.totpdevice", "mfa.passkey",
            "mfa.messagedevice", "mfa.recoverydevice", "mfa.recoverycode", "mfa.factorreset", "tokens.token",
            "tokens.signingkey",
        ),
        {"SOC2": ("CC6.1",), "ISO27001": ("A.5.17",), "PCI_DSS": ("10.2.1.5",)},
    ),
    Evidence(
        "Which rights were given, to whom, by whom, and taken away again",
        (
            "roles:assigned", "roles:revoked", "sso:groups_changed", "claim-rules:changed", "sso.claimrule",
            "groups:member_added", "groups:member_removed", "assignments:changed",
            "denies:made", "denies:lifted", "grants:made", "grants:revoked", "rbac.role", "rbac.rolepermission",
            "rbac.roleassignment", "rbac.denyrule", "auth.group", "scanning.assetusergrant", "scanning.assetgroupgrant",
        ),
        {
            "SOC2": ("CC6.2", "CC6.3"),
            "GDPR": ("32(4)",),
            "ISO27001": ("A.5.15", "A.5.18"),
            "PCI_DSS": ("7.2.2", "10.2.1.5"),
        },
    ),
    Evidence(
        "How responsibility is divided among units",
        ("rbac.unit",),
        {"SOC2": ("CC1.3",), "ISO27001": ("A.5.2",)},
    ),
    Evidence(
        "Conditions of access: from where, when and how",
        (
            "policies:changed", "zones:changed", "factor-rules:changed", "providers:changed", "providers:removed",
            "sso.provider", "devices:registered", "devices:revoked", "devices:posture_changed", "devices.device",
            "access.policy", "access.zone",
            "access.factorrule",
        ),
        {"SOC2": ("CC6.1", "CC6.6"), "ISO27001": ("A.5.15", "A.8.20"), "PCI_DSS": ("7.3.1",)},
    ),
    Evidence(
        "Who looked at what",
        (READ, "records:read", "records:listed", "records:exported"),
        {"SOC2": ("CC6.1",), "ISO27001": ("A.8.3", "A.8.15")},
    ),
    Evidence(
        "Which systems there are",
        ("scanning.asset", "schedules.schedule"),
        {"ISO27001": ("A.5.9",), "PCI_DSS": ("12.5.1",)},
    ),
    Evidence(
        "That weaknesses are looked for",
        (
            "assets:uploaded", "assets:tool_retired", "assets:tool_returned",
            "scans:requested", "scans:started", "scans:finished", "scans:failed", "scanning.scan",
            "imports:undone",
            "imports.import", "scanners:install_requested", "scanners:installed", "scanners:install_failed",
            "tools.installation",
        ),
        {"SOC2": ("CC7.1",), "GDPR": ("32(1)(d)",), "ISO27001": ("A.8.8",), "PCI_DSS": ("11.3.1",)},
    ),
    Evidence(
        "What was found, and what became of it",
        (
            "findings:raised", "findings:fixed", "findings:reopened", "findings:rerated", "findings:triaged",
            "findings:acceptance_asked", "findings:acceptance_refused", "findings:woken", "findings:withdrawn",
            "findings:restored", "findings:assigned", "findings:tagged", "findings:commented", "decisions:made",
            "decisions:closed", "decisions:reopened", "findings:deadline_moved", "findings:overdue",
            "sla-policies:changed", "sla-policies:renewed", "scanning.finding", "sla.slapolicy", "triage.decision",
            "triage.comment", "triage.bulkaction",
        ),
        {"SOC2": ("CC7.1", "CC7.4"), "GDPR": ("32(1)(b)",), "ISO27001": ("A.8.8",), "PCI_DSS": ("6.3.3",)},
    ),
    Evidence(
        "That controls are put to the test, and what failed",
        ("controls:evaluated", "controls:failed", "controls:lost", "controls:recovered"),
        {"SOC2": ("CC4.1", "CC4.2"), "GDPR": ("32(1)(d)",), "ISO27001": ("9.1", "A.5.36")},
    ),
    Evidence(
        "That the trail itself is whole, and what happened when it was not",
        (
            "trail:quarantined", "trail:stopped", "trail:anchor_failed", "trail:anchor_recovered", "trail:verified",
            "trail:tampered", "trail:recounted", "trail:unattributed_change",
        ),
        {
            "SOC2": ("CC7.2", "CC7.3"),
            "GDPR": ("5(2)",),
            "ISO27001": ("A.5.28", "A.5.33", "A.8.15"),
            "PCI_DSS": ("10.3.4", "10.7.2"),
        },
    ),
    Evidence(
        "Who took reports and exports from the trail itself",
        ("trail:reported", "trail:exported"),
        {"SOC2": ("CC7.2",), "ISO27001": ("A.8.15",), "PCI_DSS": ("10.2.1.3",)},
    ),
)  # fmt: skip

# Followed by the trail, and evidence for no framework.
NONE = {
    "notices:failed": "a mail; what it told of has entries of its own",
    "notify.preference": "what somebody likes to hear of",
    "commands:run": "what the command did has entries of its own",
    "requests:failed": "an error of ours, which changed nothing",
    "compliance.framework": "written from the catalogue that comes with a release",
    "compliance.requirement": "written from the catalogue that comes with a release",
    "compliance.control": "written from the catalogue that comes with a release",
    "compliance.contribution": "written from the catalogue that comes with a release",
}


def mapping() -> dict[str, dict[str, list[str]]]:
    """{event, model or reading: {framework: clauses}}; evidence for nothing is left out."""
    found: dict[str, dict[str, list[str]]] = {}
    for evidence in EVIDENCE:
        for key in evidence.of:
            for framework, clauses in evidence.serves.items():
                found.setdefault(key, {}).setdefault(framework, []).extend(clauses)
    return found


_MAPPING = mapping()
VERSION = sha256(canonical(_MAPPING)).hexdigest()[:8]  # nobody can forget to raise it


@lru_cache(maxsize=1024)
def tags_of(event: str, resource_type: str, action: int | None) -> tuple[str, ...]:
    """The frameworks that an entry is evidence for, in order of their keys."""
    keys = [event]
    if action == AbstractLogEntry.Action.ACCESS:
        keys += [READ, f"{resource_type}:{READ}"]
    elif action is not None:
        keys.append(resource_type)
    return tuple(sorted({framework for key in keys for framework in _MAPPING.get(key, ())}))
