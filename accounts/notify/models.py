from datetime import datetime, timedelta
from typing import ClassVar, Self
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.notify import kinds
from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.crypto import Encrypted
from opssight.kernel.ids import new_uid
from opssight.kernel.jobs import MESSAGE_PATIENCE, Job, State

KEEP = timedelta(days=90)  # how long the log remembers


class NoticeState(models.TextChoices):
    QUEUED = State.QUEUED.value, "Waits"
    RUNNING = State.RUNNING.value, "Being sent"
    COMPLETED = State.COMPLETED.value, "Sent"
    FAILED = State.FAILED.value, "Failed"


class NoticeQuerySet(GuardedQuerySet["Notice"]):
    def unfinished(self) -> Self:
        return self.filter(state__in=[State.QUEUED, State.RUNNING])

    def outlived(self, *, at: datetime) -> Self:
        return self.filter(finished_at__lt=at - KEEP)


class Notice(Job):
    """One e-mail to one address: written in the transaction of what it tells of, sent by a worker, kept as a log.

    Its text may hold a code or a link, so it is encrypted, and erased once the notice is finished.
    """

    task: ClassVar[str] = "accounts.notify.tasks.deliver"
    max_attempts: ClassVar[int] = 10

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="notices")
    address = models.EmailField("to", max_length=254)
    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=200)
    text_encrypted = models.TextField(blank=True, editable=False)
    dedupe_hash = models.CharField(max_length=64, null=True, unique=True, editable=False)
    state = models.CharField(max_length=24, choices=NoticeState, default=NoticeState.QUEUED, editable=False)
    reason = models.CharField(max_length=300, blank=True, help_text="Why it failed, or waits for another attempt.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, editable=False)  # of no use to anybody afterwards

    text = Encrypted("text_encrypted")
    objects = NoticeQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=["queued_at"], condition=Q(state__in=["queued", "running"]), name="notice_unfinished"),
            models.Index(fields=["finished_at"], name="notice_finished"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} to {self.address}"

    @property
    def message_id(self) -> str:
        """The same at each attempt (RFC 5322 §3.6.4), so that a mailbox knows a repeat for one."""
        return f"<{self.uid}@{urlsplit(settings.BASE_URL).hostname}>"

    @property
    def due_at(self) -> datetime | None:
        """When the next attempt may come, of one that was put back."""
        waits = self.state == NoticeState.QUEUED and self.attempts > 0
        return self.queued_at + MESSAGE_PATIENCE if waits else None

    def give_up(self, reason: str) -> None:
        from accounts.notify import services

        services.fail(self, reason)


class Delivery(models.Model):
    """One attempt at a notice. Where one stays open, its worker was stopped, and whether it was sent is not known."""

    class Outcome(models.TextChoices):
        OPEN = "open", "Not known"
        SENT = "sent", "Sent"
        DEFERRED = "deferred", "Not taken, to be tried again"
        REFUSED = "refused", "Refused"

    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    attempt = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=8, choices=Outcome, default=Outcome.OPEN)
    detail = models.CharField(max_length=300, blank=True)
    began_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["notice", "attempt"], name="one_delivery_per_attempt")]

    def __str__(self) -> str:
        return f"attempt {self.attempt}: {self.get_outcome_display()}"


class Preference(models.Model):
    """What somebody does not want to be written to about. Where there is no row, they are."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notice_preferences")
    kind = models.CharField(max_length=40)
    by_email = models.BooleanField(default=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["user", "kind"], name="one_preference_per_kind")]

    def __str__(self) -> str:
        return f"{self.kind}: {'by e-mail' if self.by_email else 'not'}"

    def clean(self) -> None:
        kind = kinds.registry.get(self.kind)
        if kind is None:
            raise ValidationError({"kind": "There are no notices of this kind."})
        if kind.compulsory and not self.by_email:
            raise ValidationError({"by_email": "This one can't be turned off: it is how you learn of a stranger."})
