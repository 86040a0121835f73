"""The frame around every page: what its rail offers this person, in one query that error pages never make."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from opssight.console.counting import ask, figure
from opssight.kernel.access import decide
from opssight.kernel.guards import is_signed_in
from scanning.models import Finding

# Which place in the rail a page belongs to.
PLACES = {
    "overview": "overview",
    "findings": "findings",
    "finding": "findings",
    "scans": "findings",
    "scan": "findings",
    "scan-progress": "findings",
    "controls": "controls",
    "control": "controls",
    "trail": "trail",
    "trail-entry": "trail",
    "my-security": "my-security",
    "access": "access",
    "renew-codes": "my-security",
    "api-guide": "my-security",
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
    controls: bool = False
    trail: bool = False
    users: bool = False
    explain: bool = False
    admin: bool = False
    unresolved: int = 0
    here: str = ""

    def places(self) -> list[Place]:
        offered = [
            (self.findings or self.trail, "overview", "Overview", "overview", ""),
            (self.findings, "findings", "Findings", "findings", figure(self.unresolved)),
            (self.controls, "controls", "Compliance", "controls", ""),
            (self.trail, "trail", "Audit trail", "trail", ""),
            (self.explain, "access", "Access", "key", ""),
            (self.admin, "admin:index", "Admin", "admin", ""),
            (True, "my-security", "My security", "shield", ""),
        ]
        return [
            Place(name, label, icon, reverse(name), count, self._current(name))
            for shown, name, label, icon, count in offered
            if shown
        ]

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
    return Shell(
        findings=decide(user, "findings:read").allowed,
        scans=decide(user, "scans:read").allowed,
        scan=decide(user, "scans:create").allowed,
        controls=decide(user, "controls:read").allowed,
        trail=decide(user, "trail:read").allowed,
        users=decide(user, "users:read").allowed,
        explain=decide(user, "access:explain").allowed,
        admin=decide(user, "admin:enter").allowed,
        here=request.resolver_match.url_name or "" if request.resolver_match else "",
        **ask(user, unresolved=Finding.objects.unresolved().permitted(user, "findings:read")),
    )


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor. Lazy, so that only a template with the frame costs the query: no partial, no error page."""
    return {"shell": SimpleLazyObject(lambda: shell_of(request))}
