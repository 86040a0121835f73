from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.ids import new_uid
from scanning.models import Asset, Finding, Status


class DecisionQuerySet(GuardedQuerySet["Decision"]):
    def waiting(self) -> Self:
        """Acceptances that nobody has answered."""
        return self.filter(status=Status.ACCEPTED, answered_at=None)

    def in_force(self) -> Self:
        """Acceptances that were approved, and whose finding has not changed its state since."""
        return self.filter(status=Status.ACCEPTED, is_approved=True, finding__status=Status.ACCEPTED, woken_at=None)

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
