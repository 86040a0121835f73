"""Frameworks ask for requirements, controls contribute evidence to them, and each evaluation of a control is a result.

What a control tests is code (`compliance.checks`), found by the control's key; everything else is data, written from
`compliance.catalogue`. Results and the rows behind them are written once.
"""

from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from django.db import models
from django.db.models import Q

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.appendonly import AppendOnlyModel, AppendOnlyQuerySet
from opssight.kernel.ids import new_uid

CLOCKS_DIFFER = timedelta(minutes=5)  # how far ahead the clock of another machine may be


class Framework(models.Model):
    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    key = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    version = models.CharField(max_length=40)

    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Requirement(models.Model):
    """One demand of a framework, by its id there; the title is ours."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    framework = models.ForeignKey(Framework, on_delete=models.PROTECT, related_name="requirements")
    ref = models.CharField(max_length=40)
    title = models.CharField(max_length=200)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["framework", "ref"], name="one_requirement_per_ref")]

    def __str__(self) -> str:
        return f"{self.framework.name} {self.ref}"


class ControlQuerySet(GuardedQuerySet["Control"]):
    def named(self, name: str) -> Self:
        """The control with this key or uid."""
        try:
            return self.filter(uid=UUID(name))
        except ValueError:
            return self.filter(key=name) if name.isprintable() else self.none()

    def with_latest(self) -> Self:
        """Each with `latest_id`: the id of its newest result, or None where it was never evaluated."""
        newest = Result.objects.filter(control=models.OuterRef("pk")).order_by("-id")
        return self.annotate(latest_id=models.Subquery(newest.values("pk")[:1]))


class Control(models.Model):
    """Something that must hold, tested by the code registered under `key`. A result counts for `max_age_hours`."""

    class Kind(models.TextChoices):
        CONFIG = "config", "A setting as it is now"
        POPULATION = "population", "Every record of a set"
        OPERATING = "operating", "Done in time, again and again"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    key = models.CharField(max_length=64, unique=True)
    title = models.CharField(max_length=200)
    description = models.TextField()
    kind = models.CharField(max_length=12, choices=Kind)
    weight = models.PositiveSmallIntegerField()
    max_age_hours = models.PositiveSmallIntegerField()
    params = models.JSONField(default=dict)
    requirements = models.ManyToManyField(Requirement, through="Contribution", related_name="controls")

    objects = ControlQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["config", "population", "operating"]), name="control_kind_known"
            ),
            models.CheckConstraint(condition=Q(weight__gte=1, weight__lte=5), name="control_weight_1_to_5"),
        ]

    def __str__(self) -> str:
        return self.key


class Contribution(models.Model):
    """A control is evidence for a requirement; it seldom decides one alone."""

    control = models.ForeignKey(Control, on_delete=models.CASCADE, related_name="contributions")
    requirement = models.ForeignKey(Requirement, on_delete=models.CASCADE, related_name="contributions")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["control", "requirement"], name="one_contribution_per_pair")]

    def __str__(self) -> str:
        return f"{self.control} for {self.requirement}"


# --- results ------------------------------------------------------------------------------------------------------


class State(models.TextChoices):
    """What is known of a control. Only `pass` is one; after an error, and where it is unknown, nothing is known."""

    PASS = "pass", "Met"
    FAIL = "fail", "Not met"
    ERROR = "error", "Test failed"
    UNKNOWN = "unknown", "Unknown"
    NOT_APPLICABLE = "not_applicable", "Not applicable"
    EXCEPTED = "excepted", "Excepted"


class RowSet(AppendOnlyModel):
    """The rows of an evaluation. Equal rows are kept once, so an hour in which nothing changed adds one result only."""

    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 over the rows; see services.digest_of.")

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.digest[:12]


class ResultRow(AppendOnlyModel):
    """One record that was tested, and what was found.

    An account's `label` is empty: its name is looked up when somebody who may see it reads the row, so that erasing
    the account leaves no name here and the digest holds.
    """

    row_set = models.ForeignKey(RowSet, on_delete=models.PROTECT, related_name="rows")
    resource_type = models.CharField(max_length=64)
    resource_uid = models.UUIDField()
    label = models.CharField(max_length=300, blank=True)
    failed = models.BooleanField()
    detail = models.CharField(max_length=500, blank=True)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["row_set", "resource_type", "resource_uid"], name="one_row_per_record")
        ]

    def __str__(self) -> str:
        return self.label or f"{self.resource_type} {self.resource_uid}"


class Result(AppendOnlyModel):
    """What one evaluation of a control found. `state` is as recorded; read it through `state_at`."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    control = models.ForeignKey(Control, on_delete=models.PROTECT, related_name="results")
    state = models.CharField(max_length=16, choices=State)
    reason = models.TextField()
    population = models.PositiveIntegerField()
    failed = models.PositiveIntegerField()
    row_set = models.ForeignKey(RowSet, on_delete=models.PROTECT, related_name="results")
    params = models.JSONField(default=dict)
    evaluated_at = models.DateTimeField()
    valid_until = models.DateTimeField()

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["control", "-id"], name="result_latest")]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["pass", "fail", "error", "unknown", "not_applicable", "excepted"]),
                name="result_state_known",
            ),
            models.CheckConstraint(condition=Q(failed__lte=models.F("population")), name="failed_within_population"),
            models.CheckConstraint(condition=~Q(state="pass") | Q(population__gt=0), name="no_pass_over_nothing"),
            models.CheckConstraint(condition=~Q(state="fail") | Q(failed__gt=0), name="no_fail_without_a_row"),
        ]

    def __str__(self) -> str:
        return f"{self.control.key} {self.get_state_display().lower()}"

    def is_stale(self, at: datetime) -> bool:
        return at > self.valid_until

    def read_at(self, at: datetime) -> tuple[State, str]:
        """State and reason as they may be read at `at`: what is older than it counts says nothing any more, nor does
        what a wrong clock dated ahead."""
        if self.is_stale(at):
            hours = (self.valid_until - self.evaluated_at) // timedelta(hours=1)
            return State.UNKNOWN, f"Stale: this result counted for {hours} hours only. Evaluate the control again."
        if self.evaluated_at > at + CLOCKS_DIFFER:
            return State.UNKNOWN, "This result is dated ahead of now. Set the server's clock, then evaluate again."
        return State(self.state), self.reason

    def state_at(self, at: datetime) -> State:
        return self.read_at(at)[0]
