"""What was told of a finding's deadline, so that nothing is told twice."""

from django.db import models
from django.db.models import Q

from scanning.models import Finding


class Stage(models.IntegerChoices):
    """Ordered: who was told the later one needs not hear of the earlier."""

    SOON = 1, "Due soon"
    OVER = 2, "Past its deadline"


class Warning(models.Model):
    """The last stage of a finding's deadline that was noticed. Another deadline begins anew.

    `told_at` is when the letters were written; None: they are still to be.
    """

    finding = models.OneToOneField(Finding, on_delete=models.CASCADE, related_name="+", primary_key=True)
    due_at = models.DateTimeField()
    stage = models.SmallIntegerField(choices=Stage)
    told_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["finding"], name="warning_untold", condition=Q(told_at=None))]

    def __str__(self) -> str:
        return f"{self.finding_id}: {self.get_stage_display().lower()}"
