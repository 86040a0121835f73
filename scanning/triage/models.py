from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.ids import new_uid
from opssight.kernel.validation import Line, some_lines
from scanning.models import Asset, Finding, Status

UNDO_FOR = timedelta(minutes=10)


class DecisionQuerySet(GuardedQuerySet["Decision"]):
    def waiting(self) -> Self:
        """Acceptances that nobody has answered."""
        return self.filter(status=Status.ACCEPTED, answered_at=None)

    def moved_on(self) -> Self:
        """Acceptances that wait, and whose finding is not any more as it was when they were asked for."""
        return self.waiting().exclude(finding__status=F("was"))

    def in_force(self) -> Self:
        """Acceptances that were approved, and whose finding has not changed its state since."""
        later = Decision.objects.filter(
            finding=models.OuterRef("finding"), status=Status.ACCEPTED, is_approved=True, pk__gt=models.OuterRef("pk")
        )
        accepted = self.filter(status=Status.ACCEPTED, is_approved=True, finding__status=Status.ACCEPTED, woken_at=None)
        return accepted.exclude(models.Exists(later))

    def run_out(self, *, at: datetime) -> Self:
        return self.in_force().filter(until__lte=at)


class Decision(models.Model):
    """What somebody decided about a finding, and why. An acceptance counts once a second person approved it."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    finding = models.ForeignKey(Finding, on_delete=models.CASCADE, related_name="decisions")
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="+", editable=False)
    status = models.CharField(max_length=16, choices=Status)
    was = models.CharField(max_length=16, choices=Status, editable=False)
    reason = models.CharField(max_length=1000, blank=True)
    until = models.DateTimeField(null=True, blank=True, help_text="When an acceptance runs out.")
    original = models.ForeignKey(
        Finding, on_delete=models.SET_NULL, null=True, blank=True, related_name="duplicates",
        help_text="What a duplicate is one of.",
    )  # fmt: skip
    decided_by: Any = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    decided_at = models.DateTimeField(default=timezone.now, editable=False)
    is_approved = models.BooleanField(null=True, editable=False, help_text="Unset where nobody had to, or not yet.")
    answered_by: Any = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", editable=False
    )
    answered_at = models.DateTimeField(null=True, editable=False)
    answer = models.CharField(max_length=1000, blank=True, editable=False, help_text="Why it was refused.")
    woken_at = models.DateTimeField(null=True, editable=False)
    bulk = models.ForeignKey(
        "BulkAction", on_delete=models.SET_NULL, null=True, editable=False, related_name="decisions"
    )  # fmt: skip
    undone_at = models.DateTimeField(null=True, editable=False)

    objects = DecisionQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["finding"], condition=Q(status="accepted", answered_at=None), name="one_acceptance_waits"
            ),
            models.CheckConstraint(
                condition=~Q(status="accepted") | Q(until__gt=F("decided_at")), name="accepted_until"
            ),
        ]
        indexes = [models.Index(fields=["until"], condition=Q(is_approved=True, woken_at=None), name="acceptance_ends")]

    def __str__(self) -> str:
        return f"{self.finding.label}: {self.get_status_display().lower()}"

    @property
    def is_waiting(self) -> bool:
        return self.status == Status.ACCEPTED and self.answered_at is None


class Tag(models.Model):
    """A short word on a finding, in the one spelling that `tags.normal` gives it."""

    finding = models.ForeignKey(Finding, on_delete=models.CASCADE, related_name="tags")
    word = models.CharField(max_length=30)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["finding", "word"], name="one_tag_per_word")]
        indexes = [models.Index(fields=["word", "finding"], name="tag_word")]

    def __str__(self) -> str:
        return self.word


class CommentQuerySet(GuardedQuerySet["Comment"]):
    pass


class Comment(models.Model):
    """What somebody says about a finding. Its author may change it, which shows, and whose trail has both texts."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    finding = models.ForeignKey(Finding, on_delete=models.CASCADE, related_name="comments")
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="+", editable=False)
    author: Any = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    text = models.TextField(max_length=4000, validators=[some_lines])
    written_at = models.DateTimeField(default=timezone.now, editable=False)
    edited_at = models.DateTimeField(null=True, editable=False)

    objects = CommentQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"comment on {self.finding.label}"


class BulkActionQuerySet(GuardedQuerySet["BulkAction"]):
    def undoable(self, *, at: datetime) -> Self:
        return self.filter(undone_at=None, done_at__gt=at - UNDO_FOR, changed__gt=0)


class BulkAction(models.Model):
    """One thing done to many findings at once. `left` says which were left as they were, and why:
    [{"why", "count", "findings": [uid]}]."""

    class Kind(models.TextChoices):
        DECIDE = "decide", "Decide"
        ASSIGN = "assign", "Owner"
        TAG = "tag", "Add a tag"
        UNTAG = "untag", "Remove a tag"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    done_by: Any = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    done_at = models.DateTimeField(default=timezone.now, editable=False)
    kind = models.CharField(max_length=8, choices=Kind)
    status = models.CharField(max_length=16, choices=Status, blank=True)
    reason = models.CharField(max_length=1000, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    original = models.ForeignKey(Finding, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    owner: Any = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    word = models.CharField("tag", max_length=30, blank=True)
    changed = models.PositiveIntegerField(default=0)
    left = models.JSONField(default=list)
    undone_at = models.DateTimeField(null=True, editable=False)
    restored = models.PositiveIntegerField(default=0, help_text="Findings that undoing gave back.")
    kept = models.PositiveIntegerField(default=0, help_text="Findings that somebody had changed since.")

    objects = BulkActionQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["done_by", "-done_at"], name="bulk_newest")]

    def __str__(self) -> str:
        return f"{self.changed:,} finding{'' if self.changed == 1 else 's'} {self.said}"

    @property
    def said(self) -> str:
        """What was done to them, as the end of a sentence."""
        match self.kind:
            case self.Kind.DECIDE if self.status == Status.ACCEPTED:
                return "asked to be accepted"
            case self.Kind.DECIDE:
                return f"set to {Status(self.status).label.lower()}"
            case self.Kind.ASSIGN:
                return f"given to {self.owner}" if self.owner else "without an owner"
            case self.Kind.TAG:
                return f"tagged {self.word}"
        return f"without the tag {self.word}"

    @property
    def left_count(self) -> int:
        return sum(group["count"] for group in self.left)

    @property
    def undo_until(self) -> datetime:
        return self.done_at + UNDO_FOR


class BulkChange(models.Model):
    """How a finding was before a bulk action, and what else the action made of it; kept while it can be undone."""

    action = models.ForeignKey(BulkAction, on_delete=models.CASCADE, related_name="changes")
    finding = models.ForeignKey(Finding, on_delete=models.CASCADE, related_name="+")
    decision = models.ForeignKey(Decision, on_delete=models.CASCADE, null=True, related_name="+")
    closed = models.ForeignKey(Decision, on_delete=models.SET_NULL, null=True, related_name="+")  # it waited before
    status = models.CharField(max_length=16, choices=Status)
    due_at = models.DateTimeField(null=True)
    fixed_at = models.DateTimeField(null=True)
    owner: Any = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    became_due_at = models.DateTimeField(null=True)
    became_fixed_at = models.DateTimeField(null=True)
    tag_id = models.BigIntegerField(null=True)  # of the row that was made: one made anew is somebody else's

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.finding_id}: before {self.action_id}"


class SavedView(models.Model):
    """A query of the findings queue that a person keeps under a name; nobody else sees it."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    owner: Any = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = Line(max_length=60)
    query = models.CharField(max_length=2000, blank=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["owner", "name"], name="one_view_per_name")]

    def __str__(self) -> str:
        return self.name
