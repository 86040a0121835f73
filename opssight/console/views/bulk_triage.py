"""One thing for many findings of the queue: a page that says how many and asks for the reason, and the way back."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from opssight.console.filters import Asked
from opssight.console.views import decisions, findings
from opssight.kernel import reads
from opssight.kernel.errors import Refusal
from opssight.kernel.guards import guarded
from opssight.kernel.validation import StrictForm
from scanning.models import Finding, FindingQuerySet, Status
from scanning.triage import bulk, ownership
from scanning.triage import undo as undoing
from scanning.triage.models import BulkAction

NAMED = 10


class BulkForm(StrictForm):
    """What is to be done to the findings; which they are stands in `finding`, or in `query` with `count`."""

    passed_on = StrictForm.passed_on | {"finding"}

    kind = forms.ChoiceField(choices=BulkAction.Kind.choices)
    query = forms.CharField(max_length=4096, required=False)
    all = forms.BooleanField(required=False)
    count = forms.IntegerField(min_value=0, max_value=10**9)
    status = forms.ChoiceField(label="They are", choices=Status.choices, required=False)
    reason = forms.CharField(label="Why", max_length=1000, required=False)
    until = forms.DateField(label="Accepted until", required=False)
    original = forms.CharField(label="Duplicates of", max_length=24, required=False)
    owner = forms.CharField(label="Owner", max_length=254, required=False)
    word = forms.CharField(label="Tag", max_length=200, required=False)

    clean_until = decisions.DecideForm.clean_until

    def action(self, user: Any, rows: FindingQuerySet) -> BulkAction:
        """As it is asked for, not yet done. A Refusal where it names what is not there."""
        given = self.cleaned_data
        action = BulkAction(kind=given["kind"], status=given["status"], reason=given["reason"], until=given["until"])
        match action.kind:
            case BulkAction.Kind.DECIDE if given["original"]:
                action.original = decisions.labelled(rows, given["original"])
            case BulkAction.Kind.ASSIGN:
                action.owner = ownership.named(given["owner"], by=user)
            case BulkAction.Kind.TAG | BulkAction.Kind.UNTAG:
                action.word = given["word"]
        return action


@guarded("findings:triage")
@require_http_methods(["GET", "POST"])
def act(request: HttpRequest) -> HttpResponse:
    """GET asks what to do with the chosen findings, POST does it."""
    asked = request.POST if request.method == "POST" else request.GET
    query, everything, uids = asked.get("query", "").removeprefix("?"), bool(asked.get("all")), _uids(asked)
    back = reverse("findings") + (f"?{query}" if query else "")
    may_see = Finding.objects.permitted(request.user, "findings:read")
    if everything:
        rows = findings.narrowed(may_see, Asked(QueryDict(query)), request.user)
    else:
        rows = may_see.filter(uid__in=uids)
    form = BulkForm(request.POST) if request.method == "POST" else None
    if form is not None and form.is_valid():
        try:
            action = form.action(request.user, may_see)
            if everything:
                keys = bulk.shown(rows, form.cleaned_data["count"])
                bulk.run(action, by=request.user, keys=keys)
            else:
                bulk.run(action, by=request.user, uids=uids)
        except Refusal as refusal:
            if refusal.status == 403:
                raise
            form.add_error(None, refusal.detail)
        else:
            _tell(request, action)
            return redirect(back)
    count = rows.count()
    if form is None and not count:
        messages.warning(request, "Choose the findings first: tick their boxes.")
        return redirect(back)
    shown = list(rows.select_related("asset").order_by(*findings.ORDER)[:NAMED])
    reads.note_list(Finding, len(shown))
    page = {
        "form": form or BulkForm(), "errors": form.errors if form else {}, "count": count, "shown": shown,
        "more": count - len(shown), "query": query, "back": back, "everything": everything,
        "uids": [] if everything else uids, "too_many": everything and count > bulk.MOST,
    }  # fmt: skip
    return render(request, "scanning/bulk.html", page, status=400 if form and form.errors else 200)


def _uids(asked: QueryDict) -> list[UUID]:
    try:
        return [UUID(text) for text in asked.getlist("finding")[: bulk.MOST_NAMED + 1]]
    except ValueError:
        raise Http404 from None


def _tell(request: HttpRequest, action: BulkAction) -> None:
    """What was changed stands in the bar, with the way back; what was left, only here."""
    if not action.changed:
        messages.warning(request, "Nothing was changed.")
    for group in action.left:
        number = f"{group['count']:,} finding{'' if group['count'] == 1 else 's'}"
        messages.warning(request, f"{number} left as before: {group['why']}")


@guarded("findings:triage")
@require_POST
def undo(request: HttpRequest, uid: UUID) -> HttpResponse:
    by: Any = request.user
    action = get_object_or_404(BulkAction.objects.filter(done_by=by), uid=uid)
    try:
        action = undoing.undo(action, by=by)
    except Refusal as refusal:
        if refusal.status == 403:
            raise
        messages.error(request, refusal.detail)
    else:
        kept = f" {action.kept:,} had been changed since, and stay." if action.kept else ""
        messages.success(request, f"Undone: {action.restored:,} are as they were.{kept}")
    query = request.POST.get("query", "").removeprefix("?")[:4096]
    return redirect(reverse("findings") + (f"?{query}" if query else ""))
