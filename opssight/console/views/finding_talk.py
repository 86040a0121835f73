"""Whose a finding is, its tags, and in one time line what people say, what they decided, and what the trail says."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.models import User
from audit.models import AuditEntry
from opssight.console.filters import Asked
from opssight.console.fragments import htmx
from opssight.kernel import reads
from opssight.kernel.access import check, decide
from opssight.kernel.errors import Refusal
from opssight.kernel.guards import guarded
from opssight.kernel.validation import StrictForm, some_lines, tidy
from scanning.models import Finding, FindingQuerySet
from scanning.triage import comments, notices, ownership
from scanning.triage.models import Comment, Decision, Tag

IN_PANEL, ON_PAGE = 20, 200
OFFERED = 100
# What a decision or a comment tells itself, with its words.
TOLD_BY_ROWS = {
    "findings:triaged", "findings:acceptance_asked", "findings:acceptance_refused", "findings:commented",
}  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """A row of the time line: a "decision", a "comment" or an "entry" of the trail, in words where it has its own."""

    at: datetime
    kind: str
    row: Any
    said: str = ""


def told(request: HttpRequest, finding: Finding) -> dict[str, Any]:
    """What a finding's page says of people, as far as this one may see it."""
    user, most = request.user, IN_PANEL if _is_panel(request) else ON_PAGE
    rows = Decision.objects.permitted(user, "decisions:read").filter(finding=finding)
    decisions = list(rows.select_related("decided_by", "answered_by", "original", "bulk").order_by("-id")[:most])
    said = Comment.objects.permitted(user, "comments:read").filter(finding=finding)
    spoken = list(said.select_related("author").order_by("-id")[:most])
    line = [
        *(Moment(row.decided_at, "decision", row) for row in decisions),
        *(Moment(row.written_at, "comment", row) for row in spoken),
        *_entries(user, finding, most),
    ]
    line.sort(key=lambda moment: moment.at, reverse=True)
    waiting = next((row for row in decisions if row.is_waiting), None)
    return {
        "line": line[:most],
        "waiting": waiting,
        "may_answer": waiting is not None and decide(user, "decisions:approve", waiting).allowed,
        "may_decide": decide(user, "findings:triage", finding).allowed,
        "may_comment": decide(user, "comments:create", Comment(finding=finding, asset=finding.asset)).allowed,
        "words": sorted(tag.word for tag in finding.tags.all()),
        "owner_is_blind": bool(
            finding.owner and finding.owner.is_active and not notices.may_see(finding.owner, finding)
        ),
    }


def _is_panel(request: HttpRequest) -> bool:
    return bool(htmx(request)) or "open" in request.GET


def _entries(user: Any, finding: Finding, most: int) -> list[Moment]:
    """Of the trail, for those who may read it; without who looked, and what decisions and comments beside it say."""
    found = AuditEntry.objects.permitted(user, "trail:read").about(finding).exclude(event="records:read")
    entries = list(found.select_related("personal").order_by("-timestamp", "-id")[: 2 * most])
    spoken = {entry.request_id for entry in entries if entry.event in TOLD_BY_ROWS and entry.request_id}
    shown = [entry for entry in entries if entry.event not in TOLD_BY_ROWS and entry.request_id not in spoken][:most]
    owners = {entry.pk: entry.old_and_new.get("owner") for entry in shown if entry.event == "findings:assigned"}
    people = User.objects.in_bulk({pk for pair in owners.values() for pk in pair or () if pk})
    return [Moment(entry.timestamp, "entry", entry, _from_to(owners.get(entry.pk), people)) for entry in shown]


def _from_to(owners: Any, people: dict[int, User]) -> str:
    """Who owned it and who does; the trail keeps the keys of accounts, and no names."""
    return " → ".join(str(people.get(pk, "a gone account")) if pk else "nobody" for pk in owners or ())


def narrowed(rows: FindingQuerySet, asked: Asked, user: Any) -> FindingQuerySet:
    """The queue's filters for owner and tag: those that findings in sight have."""
    may_see = Finding.objects.permitted(user, "findings:read").order_by()
    people = User.objects.filter(pk__in=may_see.exclude(owner=None).values("owner")).exclude(pk=user.pk)
    offered = [(str(person.uid), _named(person)) for person in people.order_by("name", "email")[:OFFERED]]
    if chosen := asked.among("owner", "Owner", [("me", "Me"), ("none", "Nobody"), *offered], names=True, several=False):
        whose = {"me": user, "none": None}
        known = chosen[0] in whose
        rows = rows.owned_by(whose[chosen[0]]) if known else rows.filter(owner__uid=chosen[0])
    used = Tag.objects.filter(finding__in=may_see).order_by("word").values_list("word", flat=True).distinct()[:OFFERED]
    if chosen := asked.among("tag", "Tag", [(word, word) for word in used], names=True):
        rows = rows.tagged(chosen)
    return rows


def _named(person: User) -> str:
    return str(person) if person.is_active else f"{person} (deactivated)"


# --- changes --------------------------------------------------------------------------------------------------------


def _answer(request: HttpRequest, finding: Finding) -> HttpResponse:
    """The finding's page, or the panel again for the script that sent a form of it."""
    if not htmx(request):
        return redirect(finding)
    row = Finding.objects.select_related("asset", "first_scan", "last_scan", "owner").get(pk=finding.pk)
    return render(request, "scanning/finding_panel.html", {"finding": row, **told(request, row)})


def _finding(request: HttpRequest, uid: UUID) -> Finding:
    rows = Finding.objects.permitted(request.user, "findings:read").select_related("asset")
    return get_object_or_404(rows, uid=uid)


@guarded("findings:triage")
@require_POST
def assign(request: HttpRequest, uid: UUID) -> HttpResponse:
    finding = _finding(request, uid)
    check(request.user, "findings:triage", finding)
    try:
        owner = ownership.named(
            "me" if "mine" in request.POST else request.POST.get("owner", "")[:254], by=request.user
        )
        finding = ownership.assign(finding, owner, by=request.user)
    except Refusal as refusal:
        _say(request, refusal)
    else:
        messages.success(request, f"{finding.label} is {_whose(finding, request.user)}.")
    return _answer(request, finding)


def _whose(finding: Finding, user: Any) -> str:
    if finding.owner is None:
        return "nobody's now"
    return "yours" if finding.owner == user else f"{finding.owner}'s"


@guarded("findings:triage")
@require_POST
def retag(request: HttpRequest, uid: UUID) -> HttpResponse:
    """`add` is a list of words with commas; `remove` comes from the button of one."""
    finding = _finding(request, uid)
    check(request.user, "findings:triage", finding)
    add = [word for word in request.POST.get("add", "")[:2000].split(",") if word.strip()]
    try:
        ownership.retag(finding, by=request.user, add=add, remove=request.POST.getlist("remove")[:20])
    except Refusal as refusal:
        _say(request, refusal)
    return _answer(request, finding)


class CommentForm(StrictForm):
    secret = frozenset({"text"})  # has lines, which its own check allows

    text = forms.CharField(label="Comment", max_length=comments.LONGEST, widget=forms.Textarea, validators=[some_lines])

    def clean_text(self) -> str:
        return tidy(self.cleaned_data["text"])


@guarded("comments:create")
@require_POST
def comment(request: HttpRequest, uid: UUID) -> HttpResponse:
    finding = _finding(request, uid)
    check(request.user, "comments:create", Comment(finding=finding, asset=finding.asset), about=finding)
    form = CommentForm(request.POST)
    if not form.is_valid():
        page = {"finding": finding, "form": form}
        return render(request, "scanning/comment.html", page, status=400)
    try:
        comments.comment(finding, form.cleaned_data["text"], by=request.user)
    except Refusal as refusal:
        _say(request, refusal)
    return _answer(request, finding)


@guarded("comments:create")
@require_http_methods(["GET", "POST"])
def edit_comment(request: HttpRequest, uid: UUID) -> HttpResponse:
    """By its author; to others it says so."""
    rows = Comment.objects.permitted(request.user, "comments:read").select_related("finding__asset")
    said = get_object_or_404(rows, uid=uid)
    check(request.user, "comments:create", said, about=said.finding)
    reads.note_object(said.finding)
    form = CommentForm(request.POST if request.method == "POST" else {"text": said.text})
    if request.method == "POST" and form.is_valid():
        try:
            comments.edit(said, form.cleaned_data["text"], by=request.user)
        except Refusal as refusal:
            form.add_error(None, refusal.detail)
        else:
            return redirect(said.finding)
    page = {"finding": said.finding, "form": form, "said": said}
    return render(request, "scanning/comment.html", page, status=400 if form.errors else 200)


def _say(request: HttpRequest, refusal: Refusal) -> None:
    if refusal.status == 403:
        raise refusal
    messages.error(request, refusal.detail)
