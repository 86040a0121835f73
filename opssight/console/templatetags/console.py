"""Tags of every template: icons, severities, states, times and numbers, each drawn the same way everywhere."""

from datetime import UTC, datetime, timedelta
from math import ceil
from textwrap import dedent
from typing import Any

from django import template
from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from accounts.logins.devices import described
from accounts.strength import DEMANDS, NAMES
from audit.models import AuditEntry
from audit.search import ACTIONS
from opssight.console import icons
from opssight.console.counting import figure
from opssight.console.filters import Asked
from scanning.coverage import Cell
from scanning.models import SOON, Finding, Scan, ScanState, Severity

register = template.Library()

THEME_COOKIE = "theme"
THEMES = ("light", "dark")
SEVERITY_KEYS = {4: "crit", 3: "high", 2: "med", 1: "low", 0: "info"}


# --- drawings -----------------------------------------------------------------------------------------------------


def _svg(markup: str, size: int, css: str) -> SafeString:
    drawing = mark_safe(markup)  # noqa: S308  (our own drawings)
    return format_html('<svg class="{}" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>', css, size, size, drawing)


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    return _svg(icons.THINGS[name], 16, f"i {css}".strip())


@register.simple_tag
def shape(key: str, css: str = "") -> SafeString:
    """The shape of a severity or state alone, for headings; words must stand beside it."""
    return _svg(icons.SHAPES[key], 14, f"{key} {css}".strip())


@register.simple_tag
def brand() -> SafeString:
    return _svg(icons.BRAND, 20, "mark")


@register.filter
def severity_key(value: int) -> str:
    return SEVERITY_KEYS[value]


@register.simple_tag
def severity(value: int) -> SafeString:
    """Shape and word; the colour only repeats them."""
    key = SEVERITY_KEYS[value]
    return format_html('<span class="sev {}">{}{}</span>', key, shape(key), Severity(value).label)


# --- states -------------------------------------------------------------------------------------------------------

_ENDINGS = {
    ScanState.QUEUED: ("queued", "Queued"),
    ScanState.RUNNING: ("live", "Running"),
    ScanState.COMPLETED: ("done", "Finished"),
    ScanState.COMPLETED_WITH_ERRORS: ("partly", "Finished with errors"),
    ScanState.FAILED: ("failed", "Run failed"),
    ScanState.TIMED_OUT: ("failed", "Timed out"),
    ScanState.NOT_INSTALLED: ("notinst", "Not installed"),
    ScanState.DOES_NOT_FIT: ("notappl", "Nothing to read"),
    ScanState.UNDONE: ("undone", "Undone"),
}


def _ending(scan: Scan) -> tuple[str, str]:
    """Green is kept for a complete run without findings; one with findings is a plain check."""
    if scan.state == ScanState.COMPLETED and not scan.tells_scope:
        return COVERAGE["scope_unknown"]
    return ("clean", "Clean") if scan.is_clean else _ENDINGS[ScanState(scan.state)]


@register.simple_tag
def scan_state(scan: Scan, css: str = "st") -> SafeString:
    key, words = _ending(scan)
    return format_html('<span class="{} {}">{}{}</span>', css, key, shape(key), words)


@register.filter
def tells(scan: Scan) -> bool:
    """Whether its numbers say something: a run that waits or ended early found neither nothing nor anything."""
    if scan.state in ScanState.silent():
        return False
    return scan.state not in (ScanState.QUEUED, *ScanState.failures()) or scan.total > 0


@register.simple_tag
def standing(scan: Scan | None, hidden: bool = False) -> SafeString:
    """What a run says of an asset now: as its ending, unless there was none, or it is too old or `hidden`."""
    if hidden:
        key, words = "unknown", "Not shown"
    elif scan is None:
        key, words = "never", "Never run"
    elif scan.is_stale:
        key, words = "stale", f"Stale, {brief(timezone.now() - (scan.finished_at or scan.queued_at))}"
    else:
        key, words = _ending(scan)
    return format_html('<span class="st {}">{}{}</span>', key, shape(key), words)


COVERAGE = {
    "running": ("live", "Running"),
    "clean": ("clean", "Clean"),
    "findings": ("done", "Findings"),
    "scope_unknown": ("unknown", "Scope not told"),
    "partly": ("partly", "With errors"),
    "failed": ("failed", "Failed"),
    "not_installed": ("notinst", "Not installed"),
    "stale": ("stale", "Stale"),
    "never": ("never", "Never run"),
    "not_used": ("notappl", "Not used"),
    "does_not_fit": ("notappl", "Does not fit"),
}


@register.simple_tag
def coverage(cell: Cell) -> SafeString:
    key, words = COVERAGE[cell.state]
    return format_html('<span class="st {}">{}{}</span>', key, shape(key), words)


# --- times --------------------------------------------------------------------------------------------------------


def brief(length: timedelta) -> str:
    """The largest unit that still says enough: minutes below an hour, hours below two days, then days."""
    minutes = int(length.total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min" if minutes > 0 else "< 1 min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} d"


@register.filter
def ago(moment: datetime) -> str:
    return brief(timezone.now() - moment)


@register.filter
def as_hours(hours: int) -> str:
    """Whole days as days: 24 h, 7 d, 36 h."""
    return f"{hours // 24} d" if hours > 24 and hours % 24 == 0 else f"{hours} h"


@register.filter
def duration(length: timedelta | None) -> str:
    """Minutes and seconds, as a stopwatch shows them."""
    if length is None:
        return "—"
    seconds = int(length.total_seconds())
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


@register.simple_tag
def when(moment: datetime | None, form: str = "minutes") -> SafeString:
    """UTC as the server knows it; the script rewrites it in the reader's zone."""
    if moment is None:
        return SafeString("—")
    moment = moment.astimezone(UTC)
    day = f"{moment.day} {moment:%b}" + (f" {moment.year}" if moment.year != timezone.now().year else "")
    clock = f"{moment:%H:%M:%S}" if form == "seconds" else f"{moment:%H:%M}"
    return format_html(
        '<time datetime="{}"><span class="d">{}</span> <span>{}</span></time>',
        moment.isoformat(timespec="seconds"),
        day,
        clock,
    )


@register.simple_tag
def time_left(finding: Finding, behind: str = "") -> SafeString:
    """Hours or days to the deadline; what is over says so in words as well as in red."""
    if not finding.is_unresolved or finding.due_at is None:
        why = "no deadline" if finding.is_unresolved else "closed"
        return format_html('<span class="muted" aria-hidden="true">—</span><span class="vh">{}</span>', why)
    left = finding.due_at - timezone.now()
    if left < timedelta(0):
        return format_html('<span class="due over">{} over</span>', brief(-left))
    return format_html('<span class="due {}">{}</span>{}', "soon" if left < SOON else "", brief(left), behind)


@register.simple_tag
def lockout() -> timedelta:
    """How long a sign-in stays locked after too many failures."""
    wait: timedelta = settings.AXES_COOLOFF_TIME
    return wait


@register.simple_tag
def from_now(wait: timedelta) -> datetime:
    return timezone.now() + wait


@register.filter
def in_minutes(length: timedelta) -> str:
    minutes = round(length.total_seconds() / 60)
    return f"{minutes} minute" + ("" if minutes == 1 else "s")


@register.filter
def minutes_left(until: datetime) -> str:
    """At least one, of what can still be done."""
    return f"{max(1, ceil((until - timezone.now()).total_seconds() / 60))} min left"


# --- words --------------------------------------------------------------------------------------------------------

register.filter("figure", figure)
register.filter("percent", lambda share: f"{share:.1%}")
register.filter("factor_name", lambda level: NAMES.get(level, level))
register.filter("factor_demand", lambda level: DEMANDS.get(level, level))


@register.filter
def thousands(number: int) -> str:
    return f"{number:,}"


@register.filter
def minus(number: float, less: float) -> float:
    return round(number - less, 1)


@register.filter
def tail(text: str) -> str:
    """The end of an id that begins with its time, as all of one minute do."""
    return text[-8:]


@register.filter
def is_web(address: str) -> bool:
    """Whether an address that a report brought may be a link: nothing but the web's two schemes."""
    return address.startswith(("https://", "http://"))


@register.filter
def dedented(lines: list[tuple[int, str, bool]]) -> list[tuple[int, str, bool]]:
    """An excerpt from deep inside a file, moved to where a narrow panel shows it."""
    texts = dedent("\n".join(text for _, text, _ in lines)).split("\n") if lines else []
    return [(number, text, hit) for (number, _, hit), text in zip(lines, texts, strict=True)]


@register.filter
def resolved(target: str) -> str:
    """A path as it is, or the address of a named page."""
    return resolve_url(target)


@register.filter
def browser(user_agent: str) -> str:
    return described(user_agent)


# --- the page -----------------------------------------------------------------------------------------------------


def theme_of(request: HttpRequest | None) -> str:
    """The pinned theme, or auto: the cookie is the truth, so that a page arrives in its colours without a flash."""
    kept = request.COOKIES.get(THEME_COOKIE, "") if request else ""
    return kept if kept in THEMES else "auto"


@register.simple_tag(takes_context=True)
def theme(context: Any) -> str:
    return theme_of(context.get("request"))


# --- the trail ----------------------------------------------------------------------------------------------------


@register.simple_tag
def narrow(asked: Asked, **more: Any) -> str:
    """The address of the same list, further narrowed; "" widens it."""
    given = {name: str(value) for name, value in more.items()}
    return asked.address([name for name, value in given.items() if not value], **{k: v for k, v in given.items() if v})


@register.filter
def actor_key(entry: AuditEntry) -> str:
    """What the list of entries calls this actor: the account, or the kind where none acted."""
    return str(entry.actor_id) if entry.actor_id else entry.actor_kind


@register.filter
def is_erased(entry: AuditEntry) -> bool:
    """Whether the personal part is gone. Each entry had one."""
    return getattr(entry, "personal", None) is None


@register.filter
def who(entry: AuditEntry) -> str:
    if is_erased(entry):
        return f"erased person, account {entry.actor_id}" if entry.actor_id else f"erased, {entry.actor_kind}"
    return entry.actor_label


@register.filter
def place(entry: AuditEntry) -> str:
    """Where the entry stands in the log, or that it waits for its place."""
    leaf = getattr(entry, "leaf", None)
    return f"#{leaf.position:,}" if leaf else "waits"


@register.filter
def about(entry: AuditEntry) -> str:
    """What an entry is about; where it is no object of ours, the name that was tried; of a list, the kind."""
    return entry.object_repr or str(entry.details.get("name", "")) or entry.resource_id or entry.resource_type


@register.filter
def hash_ends(digest: bytes) -> str:
    told = bytes(digest).hex()
    return f"{told[:8]}…{told[-8:]}"


@register.simple_tag
def narrow_to_what(asked: Asked, entry: AuditEntry) -> str:
    """The list narrowed to such entries: those of the event, or changes of this kind to such objects."""
    if entry.event:
        return narrow(asked, event=entry.event)
    return narrow(asked, resource_type=entry.resource_type, action=ACTIONS[entry.action or 0])


# How the own page tells of what happened at the way in; others show the event's name.
HAPPENINGS = {
    "sessions:started": "Signed in",
    "sessions:ended": "Signed out",
    "sessions:refused": "Wrong password",
    "sessions:revoked": "Session ended",
    "sessions:new_device": "Signed in on a new device",
    "sessions:disowned": "“This was not me”",
    "tokens:issued": "Token made",
    "tokens:refreshed": "Token refreshed",
    "tokens:replayed": "Refresh token used twice",
    "tokens:rotated": "Token replaced",
    "tokens:revoked": "Token revoked",
    "tokens:refused": "Token refused",
    "accounts:created": "Account made",
    "accounts:locked": "Locked after too many failures",
    "setup:issued": "Set-up link issued",
    "setup:used": "Set-up link used",
    "mfa:enrolled": "Second factor set up",
    "mfa:refused": "Wrong code",
    "mfa:codes_renewed": "New recovery codes",
    "mfa:code_used": "Recovery code used",
}


@register.filter
def happening(event: str) -> str:
    return HAPPENINGS.get(event, event)


@register.filter
def changes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The values of a trail entry as rows: field, old, new; `whole` where there is no old to set against the new."""
    rows = []
    for field, change in sorted(values.items()):
        if isinstance(change, list) and len(change) == 2:
            old, new = (None if side in (None, "None") else side for side in change)
            if old is not None or new is not None:
                rows.append({"field": field, "old": old, "new": new})
        elif isinstance(change, dict):  # a many-to-many change
            told = ", ".join(str(item) for item in change.get("objects", []))
            added = change.get("operation") == "add"
            rows.append({"field": field, "old": None if added else told, "new": told if added else None})
        else:  # a personal value whose side row was erased
            rows.append({"field": field, "erased": True})
    return rows
