"""The frame around every page: what its rail offers this person, in one query that error pages never make."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from opssight.console.counting import figure
from opssight.kernel.access import decide
from opssight.kernel.guards import is_signed_in
from scanning.counts.services import totals
from scanning.models import Severity

# Which place in the rail a page belongs to.
PLACES = {
    "overview": "overview",
    "findings": "findings",
    "finding": "findings",
    "decide": "findings",
    "bulk-actions": "findings",
    "edit-comment": "findings",
    "scans": "findings",
    "coverage": "findings",
    "deadlines": "findings",
    "scan": "findings",
    "scan-progress": "findings",
    "imports": "findings",
    "import": "findings",
    "new-import": "findings",
    "assets": "assets",
    "asset": "assets",
    "new-asset": "assets",
    "change-asset": "assets",
    "upload-asset": "assets",
    "new-schedule": "assets",
    "retire-tool": "assets",
    "scanners": "findings",
    "controls": "controls",
    "control": "controls",
    "trail": "trail",
    "trail-entry": "trail",
    "trail-report": "trail",
    "export-trail": "trail",
    "my-security": "my-security",
    "access": "access",
    "renew-codes": "my-security",
    "remove-factor": "my-security",
    "change-password": "my-security",
    "not-me": "my-security",
    "new-token": "my-security",
    "api-guide": "my-security",
}


# What the shell says of a person, and the permission that it takes.
ASKS = {
    "findings": "findings:read",
    "scans": "scans:read",
    "scan": "scans:create",
    "assets": "assets:read",
    "imports": "imports:read",
    "import_report": "imports:create",
    "tools": "scanners:read",
    "policies": "sla-policies:read",
    "controls": "controls:read",
    "trail": "trail:read",
    "report": "trail:report",
    "users": "users:read",
    "explain": "access:explain",
    "admin": "admin:enter",
}


@dataclass(frozen=True)
class Place:
    name: str
    label: str
    icon: str
    address: str
    count: str = ""
    current: str = ""  # "page" on the page itself, "true" on one below it


@dataclass(frozen=True)
class Shell:
    """What this person may open, and how many findings wait. Only a hint for links: each page asks for itself."""

    findings: bool = False
    scans: bool = False
    scan: bool = False
    assets: bool = False
    imports: bool = False
    import_report: bool = False
    tools: bool = False
    policies: bool = False
    controls: bool = False
    trail: bool = False
    report: bool = False
    users: bool = False
    explain: bool = False
    admin: bool = False
    locked: frozenset[str] = frozenset()  # those that open once the second factor was proved again
    counts: Mapping[Severity, int] = field(default_factory=dict)  # unresolved findings in sight
    here: str = ""

    @property
    def unresolved(self) -> int:
        return sum(self.counts.values())

    def places(self) -> list[Place]:
        offered = [
            (self.findings or self.trail, "overview", "Overview", "overview", ""),
            (self._leads_to("findings"), "findings", "Findings", "findings", self._unresolved()),
            (self._leads_to("assets"), "assets", "Assets", "assets", ""),
            (self._leads_to("controls"), "controls", "Compliance", "controls", ""),
            (self._leads_to("trail"), "trail", "Audit trail", "trail", ""),
            (self.report and not self.trail, "trail-report", "Trail report", "trail", ""),
            (self._leads_to("explain"), "access", "Access", "key", ""),
            (self._leads_to("admin"), "admin:index", "Admin", "admin", ""),
            (True, "my-security", "My security", "shield", ""),
        ]
        return [
            Place(name, label, icon, reverse(name), count, self._current(name))
            for shown, name, label, icon, count in offered
            if shown
        ]

    def _leads_to(self, name: str) -> bool:
        return getattr(self, name) or name in self.locked

    def _unresolved(self) -> str:
        """A number that is not known is not zero."""
        return figure(self.unresolved) if self.findings else ""

    def _current(self, name: str) -> str:
        if self.here == name:
            return "page"
        return "true" if PLACES.get(self.here) == name else ""


def shell_of(request: HttpRequest) -> Shell:
    """The shell of this request; asked once, also by views that show or leave out parts by it."""
    kept: Shell | None = getattr(request, "_shell", None)
    if kept is None:
        kept = request._shell = _read(request)  # type: ignore[attr-defined]
    return kept


def _read(request: HttpRequest) -> Shell:
    user = request.user
    if not is_signed_in(user):
        return Shell()
    decisions = {name: decide(user, permission) for name, permission in ASKS.items()}
    return Shell(
        locked=frozenset(name for name, decision in decisions.items() if decision.obligations),
        here=request.resolver_match.url_name or "" if request.resolver_match else "",
        counts=totals(user),
        **{name: decision.allowed for name, decision in decisions.items()},
    )


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor. Lazy, so that only a template with the frame costs the query: no partial, no error page."""
    return {"shell": SimpleLazyObject(lambda: shell_of(request))}
