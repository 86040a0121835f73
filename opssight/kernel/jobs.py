"""Work that outlives a request: a row with a state and a lease. Celery only carries its id.

A worker claims the row with one conditional UPDATE, renews the lease while it works, and writes only while the
claim is its own (`attempts` is the fencing token). A message that is lost or doubled does no harm:
`requeue_overdue` sends again what nobody holds, and a second claim of a held row fails.
"""

from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.apps import apps
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

LEASE = timedelta(seconds=60)
MESSAGE_PATIENCE = timedelta(minutes=2)  # a queued row older than this may have lost its message
MAX_ATTEMPTS = 3
LOST = "The worker stopped before it was done, several times over. See the log of the worker."


class State(models.TextChoices):
    """The life of any job; a subject with more endings declares its own choices with these values among them."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"


class LeaseLost(Exception):
    """Another worker has taken the job over: stop at once and write nothing more."""


class JobQuerySet(models.QuerySet[Any]):
    def unfinished(self) -> Self:
        return self.filter(state__in=[State.QUEUED, State.RUNNING])

    def claimable(self, *, at: datetime) -> Self:
        return self.filter(Q(state=State.QUEUED) | Q(state=State.RUNNING, lease_until__lt=at))

    def overdue(self, *, at: datetime) -> Self:
        """Nobody works on them: a lease that ran out, or a message that should have arrived."""
        return self.filter(
            Q(state=State.RUNNING, lease_until__lt=at) | Q(state=State.QUEUED, queued_at__lt=at - MESSAGE_PATIENCE)
        )


class Job(models.Model):
    """The columns of a job. A concrete job states `task` (the dotted name that receives its id) and `give_up`."""

    task: ClassVar[str]
    max_attempts: ClassVar[int] = MAX_ATTEMPTS

    state = models.CharField(max_length=24, choices=State, default=State.QUEUED, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    queued_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True

    @property
    def is_finished(self) -> bool:
        return self.state not in (State.QUEUED, State.RUNNING)

    def dispatch(self) -> None:
        """Send the hint once the row is committed. A broker that can't take it costs a delay, not the caller's work."""
        from celery import current_app

        transaction.on_commit(lambda: current_app.send_task(self.task, args=[self.pk]), robust=True)

    def give_up(self, reason: str) -> None:
        """End a job that no attempt could finish; the subject records why."""
        raise NotImplementedError(f"{type(self).__name__} must say what giving up means")

    @classmethod
    def claim(cls, pk: int) -> Self | None:
        """Take the job, or None where it is finished or held by another."""
        now = timezone.now()
        took = (
            cls._jobs()
            .filter(pk=pk)
            .claimable(at=now)
            .update(
                state=State.RUNNING,
                attempts=F("attempts") + 1,
                lease_until=now + LEASE,
                started_at=Coalesce("started_at", now),
            )
        )
        return cls._default_manager.get(pk=pk) if took else None

    def hold(self, **values: Any) -> None:
        """Renew the lease and write `values`, if the claim is still ours; else LeaseLost."""
        values = {"lease_until": timezone.now() + LEASE, **values}
        mine = self._jobs().filter(pk=self.pk, state=State.RUNNING, attempts=self.attempts)
        if not mine.update(**values):
            raise LeaseLost(f"{self._meta.verbose_name} {self.pk}")
        for name, value in values.items():
            setattr(self, name, value)

    def finish(self, state: str, **values: Any) -> None:
        self.hold(state=state, lease_until=None, finished_at=timezone.now(), **values)

    def put_back(self, *, until: datetime, **values: Any) -> None:
        """End this attempt without an end of the job: `requeue_overdue` sends it again from `until` on."""
        self.hold(state=State.QUEUED, lease_until=None, queued_at=until - MESSAGE_PATIENCE, **values)

    @classmethod
    def _jobs(cls) -> JobQuerySet:
        return JobQuerySet(cls)


def requeue_overdue(*, at: datetime) -> int:
    """Send again every job that nobody holds; one that was tried too often is given up. Returns how many were sent."""
    sent = 0
    for model in apps.get_models():
        if not issubclass(model, Job):
            continue
        for job in JobQuerySet(model).overdue(at=at):
            if job.attempts >= job.max_attempts:
                if held := model.claim(job.pk):
                    held.give_up(LOST)
                continue
            JobQuerySet(model).filter(pk=job.pk).claimable(at=at).update(queued_at=at)
            job.dispatch()
            sent += 1
    return sent
