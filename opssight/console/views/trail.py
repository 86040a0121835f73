from dataclasses import dataclass
from datetime import UTC, date, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from auditlog.registry import auditlog
from django.db.models import QuerySet
from django.forms import BoundField
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone

from audit.export import FORMATS, LIMIT, export
from audit.filters import NOBODY, SPANS, TrailForm
from audit.models import AuditEntry
from audit.rollups.services import days
from audit.sealing.models import Checkpoint
from audit.search import ACTIONS, Conditions, Search
from audit.tags import FRAMEWORKS
from opssight.console import trail_state
from opssight.console.charts import calendar
from opssight.console.counting import ask
from opssight.console.filters import Asked
from opssight.console.fragments import htmx
from opssight.console.lists import links, page_by
from opssight.kernel import reads
from opssight.kernel.events import registry
from opssight.kernel.guards import guarded
from opssight.kernel.pagination import DEFAULT_LIMIT

DAYS, MOST_DAYS = 30, 92  # of the histogram: by default, and at most
PLACES = {"cursor", "open"}  # parts of the address that narrow nothing


@dataclass(frozen=True)
class Group:
    """The fields behind one chip. `text` is what they ask for, "" where nothing is."""

    label: str
    fields: list[BoundField]
    text: str
    removed: str
    kept: list[tuple[str, str]]


GROUPS = (
    ("Time", ("since", "until")),
    ("Actor", ("actor", "user_id")),
    ("What", ("action", "event")),
    ("Object", ("resource_type", "resource_id")),
    ("Result", ("success",)),
    ("Address", ("ip_address",)),
    ("Request", ("request_id",)),
    ("Evidence for", ("framework",)),
    ("Text", ("text",)),
)
RESULTS = {"true": "done", "false": "refused or failed"}


@guarded("trail:read")
def trail(request: HttpRequest) -> HttpResponse:
    asked, form = Asked(request.GET), TrailForm(request.GET)
    context: dict[str, Any] = {"asked": asked, "groups": _groups(asked, form), **_choices(), **trail_state.banner()}
    if problems := _problems(request.GET, form):
        return render(request, "audit/trail.html", {**context, "problems": problems}, status=400)
    conditions = form.conditions()
    search = Search(_entries(request), conditions)
    page = page_by(request, AuditEntry, partial(search.page, limit=DEFAULT_LIMIT))
    context |= {
        "page": page,
        "limit": LIMIT,
        "formats": FORMATS,
        **links(request, page),
        **_history(conditions, page.rows),
    }
    if asked.narrowed and (rows := search.countable()) is not None:
        context |= ask(request.user, total=rows)
    if not request.GET.get("cursor") and not context["unfolded"]:
        context |= _histogram(asked, conditions)
    return render(request, "audit/trail.html", context)


@guarded("trail:read")
def entry(request: HttpRequest, uid: str) -> HttpResponse:
    """A page of its own, or the row that unfolds below the entry."""
    row = get_object_or_404(_entries(request), uid=uid)
    reads.note_object(row)
    if htmx(request):
        return render(request, "audit/entry_row.html", {"entry": row})
    leaf = getattr(row, "leaf", None)
    sealed = Checkpoint.objects.covering(leaf.position).order_by("pk").first() if leaf else None
    proof = reverse("trail-proof", args=[row.uid]) if leaf else ""
    return render(request, "audit/entry.html", {"entry": row, "leaf": leaf, "sealed": sealed, "proof": proof})


@guarded("trail:read")
def trail_export(request: HttpRequest) -> HttpResponseBase:
    """The list as a file; what is wrong with the address is said on the list's own page."""
    query = request.GET.copy()
    wanted = query.pop("format", ["csv"])[-1]
    form = TrailForm(query)
    problems = _problems(query, form)
    if wanted not in FORMATS:
        problems.append(f"{wanted[:20]} is no format of an export. There are: {', '.join(FORMATS)}.")
    if problems:
        asked = Asked(query)
        context = {"asked": asked, "groups": _groups(asked, form), "problems": problems, **_choices()}
        return render(request, "audit/trail.html", {**context, **trail_state.banner()}, status=400)
    return export(Search(_entries(request), form.conditions()), wanted)


def _entries(request: HttpRequest) -> QuerySet[AuditEntry]:
    rows: QuerySet[AuditEntry] = AuditEntry.objects.permitted(request.user, "trail:read")
    return rows.select_related("personal", "leaf")


def _problems(query: QueryDict, form: TrailForm) -> list[str]:
    """A sentence for each parameter that can't be read: leaving one out would show more than was asked for."""
    known = form.fields.keys() | PLACES
    told = [f"{name[:40]} is nothing that the trail is filtered by." for name in query if name not in known]
    told += [f"{name} stands twice in the address." for name, values in query.lists() if len(values) > 1]
    return told + [str(text) for texts in form.errors.values() for text in texts]


# --- filters --------------------------------------------------------------------------------------------------------


def _choices() -> dict[str, Any]:
    return {
        "actions": ACTIONS.values(),
        "results": RESULTS.items(),
        "spans": SPANS,
        "nobody": NOBODY,
        "events": sorted(registry),
        "frameworks": FRAMEWORKS.items(),
        "types": sorted(model._meta.label_lower for model in auditlog.get_models()),
    }


def _groups(asked: Asked, form: TrailForm) -> list[Group]:
    groups = []
    for label, names in GROUPS:
        given = {name: text for name in names if (text := asked.text(name))}
        kept = [(k, v) for k, values in asked.query.lists() for v in values if k not in (*names, *PLACES)]
        fields = [form[name] for name in names if name != "user_id" or name in given]
        groups.append(Group(label, fields, _words(given), asked.address(without=names), kept))
    asked.narrowed = any(group.text for group in groups)
    return groups


def _words(given: dict[str, str]) -> str:
    since, until = given.get("since", ""), given.get("until", "")
    if since in SPANS and not until:
        return f"the last {since.replace('h', ' h').replace('d', ' days')}"
    if since or until:
        return (
            since
            if since == until
            else " ".join(word for word in (since and f"from {since}", until and f"to {until}") if word)
        )
    return " ".join(RESULTS.get(text, text) for text in given.values())


# --- what stands around the list ------------------------------------------------------------------------------------

PAGES = {"scanning.finding": "finding", "scanning.scan": "scan"}


def _history(asked: Conditions, rows: list[AuditEntry]) -> dict[str, Any]:
    """One object's entries, and those of one request, are unfolded: they are read from end to end."""
    if not (asked.resource_type and asked.resource_id):
        return {"unfolded": bool(asked.request_id)}
    label = next((row.object_repr for row in rows if row.object_repr), asked.resource_id)
    page = PAGES.get(asked.resource_type)
    return {"unfolded": True, "history_of": label, "object_page": page and _address(page, asked.resource_id)}


def _address(page: str, uid: str) -> str:
    """Of an object's own page; "" where the id is none of its kind."""
    try:
        return reverse(page, args=[UUID(uid)])
    except ValueError:
        return ""


def _histogram(asked: Asked, conditions: Conditions) -> dict[str, Any]:
    """Sealed entries a day, in UTC, as the sealer counted them: of the asked time, as far as it can be drawn."""
    today = timezone.now().astimezone(UTC).date()
    first, last = _drawn(conditions, today)
    counts = [
        (row.day, row.total, row.failed, asked.address(since=f"{row.day}", until=f"{row.day}"))
        for row in days(first, last)
    ]
    return {
        "days": counts,
        "today": today,
        "wide": calendar(counts, width=1144),
        "slim": calendar(counts[-DAYS:], width=300),
    }


def _drawn(asked: Conditions, today: date) -> tuple[date, date]:
    """The asked days, a single one among its neighbours; the last 30 where none are asked for."""
    until = (asked.until - timedelta(microseconds=1)).astimezone(UTC).date() if asked.until else today
    last = min(today, until)
    first = asked.since.astimezone(UTC).date() if asked.since else last - timedelta(days=DAYS - 1)
    if last - first < timedelta(days=6):
        last = min(today, last + timedelta(days=DAYS // 2))
        first = last - timedelta(days=DAYS - 1)
    return max(first, last - timedelta(days=MOST_DAYS - 1)), last
