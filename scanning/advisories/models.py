"""What the lists that an operator supplies say of CVEs: how likely one is exploited (EPSS), which ones are (KEV)."""

from datetime import timedelta

from django.db import models
from django.utils import timezone

FRESH_FOR = timedelta(days=7)  # EPSS comes daily, KEV on most working days


class FeedQuerySet(models.QuerySet["Feed"]):
    def known(self) -> dict[str, "Feed"]:
        """Those that were read, by kind."""
        return {feed.kind: feed for feed in self.filter(read_at__isnull=False)}


class Feed(models.Model):
    """One list, as it was last read. Its rows are those of EpssScore or KnownExploited."""

    class Kind(models.TextChoices):
        EPSS = "epss", "EPSS"
        KEV = "kev", "KEV"

    kind = models.CharField(max_length=8, choices=Kind, unique=True)
    dated = models.DateTimeField(null=True, help_text="When it was made, by its own word, else by its file's time.")
    read_at = models.DateTimeField(null=True, help_text="Unset where none is known.")
    rows = models.PositiveIntegerField(default=0)
    size = models.BigIntegerField(default=0)
    mtime_ns = models.BigIntegerField(default=0)
    is_rated = models.BooleanField(default=True, help_text="Whether every finding says what the list says.")

    objects = FeedQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.get_kind_display()

    @property
    def is_stale(self) -> bool:
        return self.dated is not None and self.dated < timezone.now() - FRESH_FOR


class EpssScore(models.Model):
    cve = models.CharField(max_length=24, primary_key=True)
    epss = models.FloatField()
    percentile = models.FloatField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.cve} {self.epss}"


class KnownExploited(models.Model):
    """`ransomware` is null where CISA does not know."""

    cve = models.CharField(max_length=24, primary_key=True)
    added_on = models.DateField()
    due_on = models.DateField(null=True)
    ransomware = models.BooleanField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.cve
