from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from accounts.models import User
from audit.models import AuditEntry, AuditEntryQuerySet
from opssight.console.counting import ask
from opssight.console.filters import Asked
from opssight.console.lists import links, page_of
from opssight.kernel import reads
from opssight.kernel.guards import guarded

RESULTS = [("ok", "done"), ("failed", "refused or failed")]
KINDS = ("system", "command", "anonymous")
ACTIONS = {label: value for value, label in AuditEntry.Action.choices}


@guarded("trail:read")
def trail(request: HttpRequest) -> HttpResponse:
    asked = Asked(request.GET)
    rows = narrowed(AuditEntry.objects.permitted(request.user, "trail:read"), asked)
    page = page_of(request, _whole(rows), ["-id"])
    context: dict[str, Any] = {"asked": asked, "page": page, **links(request, page)}
    if asked.narrowed:  # all there is would be counted at a cost that grows with it
        context |= ask(request.user, total=rows)
    return render(request, "audit/trail.html", context)


@guarded("trail:read")
def entry(request: HttpRequest, uid: str) -> HttpResponse:
    """A page of its own, or the row that unfolds below the entry."""
    row = get_object_or_404(_whole(AuditEntry.objects.permitted(request.user, "trail:read")), uid=uid)
    reads.note_object(row)
    template = "audit/entry_row.html" if request.htmx else "audit/entry.html"  # type: ignore[attr-defined]
    return render(request, template, {"entry": row})


def narrowed(rows: AuditEntryQuerySet, asked: Asked) -> AuditEntryQuerySet:
    if moment := asked.span("since", "Time"):
        rows = rows.since(moment)
    if actor := asked.text("actor"):
        rows = rows.filter(**_actor(actor, asked))
    if event := asked.text("event"):
        asked.note("event", "What", event)
        rows = rows.filter(**_event(event))
    kind, name = asked.text("resource_type"), asked.text("resource_id")
    if kind or name:
        asked.note("resource_type", "Object", f"{kind.partition('.')[2] or kind} {name}".strip(), "resource_id")
        given = {"resource_type": kind, "resource_id": name}
        rows = rows.filter(**{column: value for column, value in given.items() if value})
    if chosen := asked.among("result", "Result", RESULTS, several=False):
        rows = rows.filter(success=chosen == ["ok"])
    if request_id := asked.text("request"):
        asked.note("request", "Request", request_id)
        rows = rows.filter(request_id=request_id)
    return rows


def _actor(asked_for: str, asked: Asked) -> dict[str, Any]:
    """By account, or by kind where no account acted. The name comes from the account, if it still has one."""
    if asked_for in KINDS:
        asked.note("actor", "Actor", asked_for)
        return {"actor": None, "actor_kind": asked_for}
    if not asked_for.isascii() or not asked_for.isdigit() or len(asked_for) > 18:
        raise Http404
    person = User.objects.filter(pk=int(asked_for)).first()
    asked.note("actor", "Actor", person.email if person else f"account {asked_for}")
    return {"actor_id": int(asked_for)}


def _event(name: str) -> dict[str, Any]:
    """A named event, or a change of a model's rows as accounts.user:update."""
    model, _, action = name.partition(":")
    if "." in model and action in ACTIONS:
        return {"event": "", "resource_type": model, "action": ACTIONS[action]}
    return {"event": name}


def _whole(rows: AuditEntryQuerySet) -> QuerySet[AuditEntry]:
    return rows.select_related("personal")
