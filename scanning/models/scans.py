"""Runs of a tool on an asset: how they end, and which one of each tool speaks for the asset."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import connection, models
from django.db.models.expressions import RawSQL
from django.utils import timezone

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.ids import new_uid
from opssight.kernel.jobs import Job, State
from scanning.models.assets import Asset, RetiredTool

FRESH_FOR = timedelta(days=7)  # how long a run speaks for its asset


class ScanState(models.TextChoices):
    """How a run stands or ended. Only the two `completed` say anything about the asset."""

    QUEUED = State.QUEUED.value, "Queued"
    RUNNING = State.RUNNING.value, "Running"
    COMPLETED = State.COMPLETED.value, "Completed"
    COMPLETED_WITH_ERRORS = "completed_with_errors", "Completed with errors"
    FAILED = State.FAILED.value, "Failed"
    TIMED_OUT = "timed_out", "Timed out"
    NOT_INSTALLED = "not_installed", "Not installed"
    DOES_NOT_FIT = "does_not_fit", "Nothing to read"  # what it reads is not there, so it is not used on the asset
    UNDONE = "undone", "Undone"  # it came in by an import that was taken back

    @classmethod
    def failures(cls) -> list[str]:
        return [cls.FAILED, cls.TIMED_OUT, cls.NOT_INSTALLED]

    @classmethod
    def silent(cls) -> list[str]:
        """Endings that say nothing of the asset, not even that a tool is in use there."""
        return [cls.DOES_NOT_FIT, cls.UNDONE]


# How an asset stands by one tool where its newest run did not read all of it.
ENDINGS = {
    ScanState.COMPLETED_WITH_ERRORS: "partly",
    ScanState.FAILED: "failed",
    ScanState.TIMED_OUT: "failed",
    ScanState.NOT_INSTALLED: "not_installed",
}


def stands_as(word: str, *, at: datetime) -> models.Q:
    """Which ended runs stand as `word` at that moment: in rows what `Scan.stands_as` says of one now."""
    read = models.Q(state=ScanState.COMPLETED)
    fresh, nothing = models.Q(finished_at__gte=at - FRESH_FOR), models.Q(new=0, same=0, reopened=0)
    untold = models.Q(trigger=Scan.Trigger.IMPORT, files_read=0)
    match word:
        case "clean":
            return read & fresh & nothing & ~untold
        case "scope_unknown":
            return read & fresh & nothing & untold
        case "findings":
            return read & fresh & ~nothing
        case "stale":
            return read & ~fresh
    return models.Q(state__in=[ending for ending, told in ENDINGS.items() if told == word])


# The tools that an asset has runs of, found by jumps along the index scan_latest, and of each the newest run that
# ended: a few steps for each pair, however many runs there are. A run that found nothing to read says nothing, and
# neither does that of an import that was taken back, or of a tool that was retired by then.
NEWEST_ENDED = """
WITH RECURSIVE pair (asset_id, scanner) AS (
  SELECT a.id, (SELECT MIN(s.scanner) FROM scanning_scan s WHERE s.asset_id = a.id) FROM scanning_asset a {narrowed}
  UNION ALL
  SELECT p.asset_id,
    (SELECT MIN(s.scanner) FROM scanning_scan s WHERE s.asset_id = p.asset_id AND s.scanner > p.scanner)
  FROM pair p WHERE p.scanner IS NOT NULL
)
SELECT (
  SELECT s.id FROM scanning_scan s
  WHERE s.asset_id = p.asset_id AND s.scanner = p.scanner AND s.finished_at <= %s
    AND s.state NOT IN ('queued', 'running', {silent})
  ORDER BY s.id DESC LIMIT 1
)
FROM pair p WHERE p.scanner IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM scanning_retiredtool r
  WHERE r.asset_id = p.asset_id AND r.scanner = p.scanner AND r.retired_at <= %s
)
"""


class ScanQuerySet(GuardedQuerySet["Scan"]):
    def standing(self) -> Self:
        """All but those that found nothing to read, whose import was taken back, or whose tool is retired."""
        retired = RetiredTool.objects.filter(asset=models.OuterRef("asset"), scanner=models.OuterRef("scanner"))
        return self.exclude(state__in=ScanState.silent()).exclude(models.Exists(retired))

    def newest_ended(self, *, at: datetime, assets: Iterable[int] | None = None) -> Self:
        """Of each tool on each asset (or on those with these ids) the newest run that ended by `at`, and in
        `completed_at` when the newest completed one did. A run that is still going changes nothing: until it ends, the
        one before it speaks for the asset."""
        ids = "" if assets is None else ",".join(str(int(pk)) for pk in assets) or "NULL"
        narrowed = f"WHERE a.id IN ({ids})" if ids else ""
        moment = connection.ops.adapt_datetimefield_value(at)
        silent = ", ".join(f"'{state}'" for state in ScanState.silent())
        query = NEWEST_ENDED.format(narrowed=narrowed, silent=silent)
        newest = RawSQL(query, [moment, moment])  # noqa: S611  (nothing but numbers and our own words)
        same = Scan.objects.filter(asset=models.OuterRef("asset"), scanner=models.OuterRef("scanner"))
        completed = same.filter(state=ScanState.COMPLETED, finished_at__lte=at).order_by("-id")
        return self.filter(pk__in=newest).annotate(completed_at=models.Subquery(completed.values("finished_at")[:1]))

    def unfinished(self) -> Self:
        return self.filter(state__in=[ScanState.QUEUED, ScanState.RUNNING])

    def finished(self) -> Self:
        """Those whose ending counts: an undone one says nothing any more."""
        return self.exclude(state__in=[ScanState.QUEUED, ScanState.RUNNING, ScanState.UNDONE])

    def failed(self) -> Self:
        """They say nothing about their asset."""
        return self.filter(state__in=ScanState.failures())


class Scan(Job):
    """One run of one scanner on one asset; a job of its own."""

    class Trigger(models.TextChoices):
        FIRST = "first", "First start"
        MANUAL = "manual", "By hand"
        COMMAND = "command", "Command"
        IMPORT = "import", "Import"
        SCHEDULE = "schedule", "Schedule"

    task: ClassVar[str] = "scanning.tasks.run_scan"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="scans")
    scanner = models.CharField(max_length=32)
    scanner_version = models.CharField(max_length=32, blank=True)
    trigger = models.CharField(max_length=8, choices=Trigger, default=Trigger.MANUAL)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    state = models.CharField(max_length=24, choices=ScanState, default=ScanState.QUEUED, editable=False)
    reason = models.TextField(blank=True, help_text="Why it failed, or what it could not read.")
    parts_total = models.PositiveIntegerField(default=0)
    parts_done = models.PositiveIntegerField(default=0)
    part = models.CharField(max_length=200, blank=True, help_text="What is being read now.")
    revision = models.CharField(
        max_length=64, blank=True, help_text="What was read: a repository's commit, SHA-256 of a file or pulled image."
    )
    log = models.TextField(blank=True, editable=False, help_text="The end of what the tool said, without secrets.")
    batch = models.UUIDField(null=True, editable=False, help_text="The same for scans that were asked for together.")
    files_read = models.PositiveIntegerField(default=0)
    new = models.PositiveIntegerField(default=0)
    same = models.PositiveIntegerField(default=0)
    fixed = models.PositiveIntegerField(default=0)
    reopened = models.PositiveIntegerField(default=0)

    objects = ScanQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=["asset", "scanner", "-id"], name="scan_latest"),
            models.Index(fields=["asset", "-finished_at", "-id"], name="scan_ended"),
            models.Index(fields=["asset"], name="scan_unfinished", condition=models.Q(state__in=["queued", "running"])),
        ]

    def __str__(self) -> str:
        return f"Scan {self.pk}: {self.asset}"

    @property
    def is_commit(self) -> bool:
        return self.asset.kind == Asset.Kind.GIT

    @property
    def total(self) -> int:
        return self.new + self.same + self.reopened

    @property
    def is_imported(self) -> bool:
        return self.trigger == self.Trigger.IMPORT

    @property
    def is_clean(self) -> bool:
        """Completed without an error and without a finding; nothing else is ever called clean. An import is the word of
        another machine: one that does not tell what was read is not."""
        return self.state == ScanState.COMPLETED and self.total == 0 and self.tells_scope

    @property
    def tells_scope(self) -> bool:
        """Not where a report names no finding, and not what was read: then nothing was found nobody knows where."""
        return self.total > 0 or self.files_read > 0 or self.trigger != self.Trigger.IMPORT

    @property
    def stands_as(self) -> str:
        """One word for how the asset stands by this ended run: clean, findings, scope_unknown, stale, partly, failed,
        not_installed."""
        if self.state != ScanState.COMPLETED:
            return ENDINGS[ScanState(self.state)]
        if self.is_stale:
            return "stale"
        if self.total:
            return "findings"
        return "clean" if self.tells_scope else "scope_unknown"

    @property
    def is_stale(self) -> bool:
        """It did its work, but too long ago to say how the asset is now."""
        done = self.state in (ScanState.COMPLETED, ScanState.COMPLETED_WITH_ERRORS)
        return bool(done and self.finished_at and self.finished_at < timezone.now() - FRESH_FOR)

    @property
    def is_known(self) -> bool:
        """Whether it says how the asset is: not where it goes on, failed, missed files, is stale or tells no scope."""
        return self.state == ScanState.COMPLETED and not self.is_stale and self.tells_scope

    @property
    def trouble(self) -> int:
        """How far it is from clean, which is 0; an asset stands as the worst of its tools does."""
        if self.state in ScanState.failures():
            return 4
        if self.state == ScanState.COMPLETED_WITH_ERRORS:
            return 3
        return 2 if self.is_stale or not self.tells_scope else int(self.total > 0)

    @property
    def duration(self) -> timedelta | None:
        return (self.finished_at or timezone.now()) - self.started_at if self.started_at else None

    def give_up(self, reason: str) -> None:
        from scanning.services import fail_scan

        fail_scan(self, reason)
