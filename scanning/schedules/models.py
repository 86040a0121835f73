from datetime import UTC, datetime, timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.ids import new_uid
from scanning.models import Asset


class Every(models.TextChoices):
    HOURS = "hours", "Every few hours"
    DAY = "day", "Daily"
    WEEK = "week", "Weekly"


class Weekday(models.IntegerChoices):
    MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = range(7)


class ScheduleQuerySet(GuardedQuerySet["Schedule"]):
    def due(self, *, at: datetime) -> Self:
        return self.filter(is_active=True, asset__is_active=True, next_at__lte=at)


class Schedule(models.Model):
    """When an asset is scanned, by one tool or by all that fit. Times are UTC."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="schedules")
    scanner = models.CharField(max_length=32, blank=True, help_text="One tool; empty: every installed one that fits.")
    every = models.CharField(max_length=5, choices=Every, default=Every.DAY)
    hours = models.PositiveSmallIntegerField(default=24, help_text="Every few hours: how many, from 1 to 168.")
    minute = models.PositiveSmallIntegerField(
        default=180, help_text="Daily and weekly: minutes after midnight, UTC; 180 is 03:00."
    )
    weekday = models.PositiveSmallIntegerField(choices=Weekday, default=Weekday.MONDAY)
    is_active = models.BooleanField("active", default=True)
    next_at = models.DateTimeField(editable=False)
    last_at = models.DateTimeField(null=True, editable=False)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["asset", "scanner"], name="one_schedule_per_tool"),
            models.CheckConstraint(condition=Q(hours__gte=1, hours__lte=168), name="schedule_hours"),
            models.CheckConstraint(condition=Q(minute__lt=24 * 60), name="schedule_minute"),
            models.CheckConstraint(condition=Q(weekday__lt=7), name="schedule_weekday"),
        ]
        indexes = [models.Index(fields=["next_at"], name="schedule_due", condition=Q(is_active=True))]

    def __str__(self) -> str:
        return f"{self.scanner or 'all tools'} on {self.asset}"

    @property
    def rhythm(self) -> str:
        """When it runs, as people say it."""
        if self.every == Every.HOURS:
            return "every hour" if self.hours == 1 else f"every {self.hours} hours"
        time = f"{self.minute // 60:02}:{self.minute % 60:02}"
        return f"daily, {time}" if self.every == Every.DAY else f"{Weekday(self.weekday).label}s, {time}"

    def after(self, at: datetime) -> datetime:
        """The next moment later than `at`. However many were missed, it is one."""
        if self.every == Every.HOURS:
            return at + timedelta(hours=self.hours)
        at = at.astimezone(UTC)
        day = at.replace(hour=self.minute // 60, minute=self.minute % 60, second=0, microsecond=0)
        if self.every == Every.WEEK:
            day += timedelta(days=(self.weekday - day.weekday()) % 7)
        step = timedelta(days=7 if self.every == Every.WEEK else 1)
        return day if day > at else day + step
