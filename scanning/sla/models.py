"""How many hours findings of a unit may wait. The nearest unit above that has a policy decides."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.ids import new_uid
from opssight.kernel.jobs import Job, State
from rbac.models import Unit

# By severity, as `scanning.models.Severity` numbers them: the most severe last.
WORDS = ("info", "low", "medium", "high", "critical")
LONGEST = 10 * 366 * 24


def _hours() -> Any:
    return models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(LONGEST)],
        help_text="Hours; empty for no deadline.",
    )  # fmt: skip


class SlaPolicyQuerySet(GuardedQuerySet["SlaPolicy"]):
    pass


class SlaPolicy(models.Model):
    """Hours to fix a finding, by severity, in a unit and below it; None is no deadline."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    unit = models.OneToOneField(Unit, on_delete=models.PROTECT, related_name="+")
    critical = _hours()
    high = _hours()
    medium = _hours()
    low = _hours()
    info = _hours()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = SlaPolicyQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = "SLA policy"
        verbose_name_plural = "SLA policies"

    def __str__(self) -> str:
        return f"deadlines of {self.unit}"

    def hours(self) -> dict[int, int | None]:
        return {severity: getattr(self, word) for severity, word in enumerate(WORDS)}

    def clean(self) -> None:
        """What is more severe never has longer."""
        shortest = None
        for word in WORDS:
            hours = getattr(self, word)
            if shortest is not None and (hours is None or hours > shortest[1]):
                told = "has no deadline" if hours is None else f"has {hours} h"
                raise ValidationError(
                    {word: f"{word} {told}, and {shortest[0]}, which is less severe, {shortest[1]} h."}
                )
            if hours is not None:
                shortest = (word, hours)


class Renewal(Job):
    """Unresolved findings below `unit` get their deadlines anew, after a policy changed."""

    task: ClassVar[str] = "scanning.tasks.renew_deadlines"

    unit = models.ForeignKey(Unit, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField(blank=True)
    moved = models.PositiveIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"deadlines anew below {self.unit}"

    def give_up(self, reason: str) -> None:
        self.finish(State.FAILED, reason=reason)
