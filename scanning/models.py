from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import connection, models
from django.db.models.expressions import RawSQL
from django.utils import timezone
from guardian.managers import GroupObjectPermissionManager, UserObjectPermissionManager
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from audit.models import AuditEntry
from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.crypto import Encrypted
from opssight.kernel.ids import new_uid
from opssight.kernel.jobs import Job, State
from opssight.kernel.validation import Line
from rbac.models import DatedQuerySet, ObjectGrant, Unit
from scanning.detail import Detail, advisory_name


class Severity(models.IntegerChoices):
    """Ordered, so that "most severe first" is an index walk. People and the API see the words."""

    INFO = 0, "Info"
    LOW = 1, "Low"
    MEDIUM = 2, "Medium"
    HIGH = 3, "High"
    CRITICAL = 4, "Critical"

    @property
    def word(self) -> str:
        return self.name.lower()


FRESH_FOR = timedelta(days=7)  # how long a run speaks for its asset
SOON = timedelta(days=3)  # a deadline this near is worth a look


class AssetQuerySet(GuardedQuerySet["Asset"]):
    def active(self) -> Self:
        return self.filter(is_active=True)


class Asset(models.Model):
    """Something that is scanned. `location` is what the kind says: the path of a folder or file on the server, a
    repository's address, or an image's reference; an uploaded file and the installation need none."""

    class Kind(models.TextChoices):
        FOLDER = "folder", "Folder"
        GIT = "git", "Git repository"
        ARCHIVE = "archive", "Archive of files"
        IMAGE = "image", "Container image"
        INSTALLATION = "installation", "This installation"

    FILES = (Kind.ARCHIVE, Kind.IMAGE)  # one file, on the server or uploaded; or an image in its registry

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    unit = models.ForeignKey(Unit, on_delete=models.PROTECT, related_name="assets")
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.FOLDER)
    name = Line(max_length=200)
    location = models.CharField(max_length=1000, blank=True)
    is_active = models.BooleanField("active", default=True, help_text="An inactive one is not scanned, nor counted.")
    branch = Line(max_length=200, blank=True, help_text="Of a repository: branch or tag; without, the one it names.")
    username = Line(max_length=200, blank=True, help_text="Whom a repository or registry knows us as.")
    secret_encrypted = models.TextField(blank=True, editable=False)
    upload = models.CharField(max_length=32, blank=True, editable=False)  # the token of the file that counts
    upload_name = models.CharField(max_length=200, blank=True, editable=False)
    upload_digest = models.CharField(max_length=64, blank=True, editable=False)
    uploaded_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    secret = Encrypted("secret_encrypted")
    objects = AssetQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["unit", "name"], name="asset_name_unique_in_unit"),
            models.UniqueConstraint(
                fields=["unit", "kind", "location"],
                name="one_asset_per_location",
                condition=~models.Q(location="", kind__in=["archive", "image"]),
            ),
        ]
        indexes = [models.Index(fields=["name", "id"], name="asset_by_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def has_secret(self) -> bool:
        return bool(self.secret_encrypted)


class AssetUserGrant(ObjectGrant, UserObjectPermissionBase):
    """One person may do one thing on one asset, or on its scans and findings."""

    content_object = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="user_grants")

    objects = UserObjectPermissionManager.from_queryset(DatedQuerySet)()  # type: ignore[assignment,misc]

    class Meta(UserObjectPermissionBase.Meta):
        default_permissions = ()
        unique_together = ["user", "permission", "content_object"]
        verbose_name = "grant on an asset to a person"
        verbose_name_plural = "grants on assets to people"
        constraints = [ObjectGrant.ends_after_start("asset_user_grant_ends_after_start")]

    def __str__(self) -> str:
        return f"{self.user}: {self.permission.codename} on {self.content_object}"


class AssetGroupGrant(ObjectGrant, GroupObjectPermissionBase):
    """The same for a group."""

    content_object = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="group_grants")

    objects = GroupObjectPermissionManager.from_queryset(DatedQuerySet)()  # type: ignore[assignment,misc]

    class Meta(GroupObjectPermissionBase.Meta):
        default_permissions = ()
        unique_together = ["group", "permission", "content_object"]
        verbose_name = "grant on an asset to a group"
        verbose_name_plural = "grants on assets to groups"
        constraints = [ObjectGrant.ends_after_start("asset_group_grant_ends_after_start")]

    def __str__(self) -> str:
        return f"{self.group}: {self.permission.codename} on {self.content_object}"


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


class RetiredTool(models.Model):
    """A tool that an asset does without: its runs there say nothing of it any more, until it is asked for again."""

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="retired_tools")
    scanner = models.CharField(max_length=32)
    reason = Line(max_length=500)
    retired_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    retired_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["asset", "scanner"], name="retired_tool_once")]

    def __str__(self) -> str:
        return f"{self.scanner} on {self.asset}"


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
    AND s.state NOT IN ('queued', 'running', 'does_not_fit', 'undone')
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
        return self.exclude(state__in=[ScanState.DOES_NOT_FIT, ScanState.UNDONE]).exclude(models.Exists(retired))

    def newest_ended(self, *, at: datetime, assets: Iterable[int] | None = None) -> Self:
        """Of each tool on each asset (or on those with these ids) the newest run that ended by `at`, and in
        `completed_at` when the newest completed one did. A run that is still going changes nothing: until it ends, the
        one before it speaks for the asset."""
        ids = "" if assets is None else ",".join(str(int(pk)) for pk in assets) or "NULL"
        narrowed = f"WHERE a.id IN ({ids})" if ids else ""
        moment = connection.ops.adapt_datetimefield_value(at)
        newest = RawSQL(NEWEST_ENDED.format(narrowed=narrowed), [moment, moment])  # noqa: S611  (nothing but numbers)
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
        told = self.files_read > 0 or self.trigger != self.Trigger.IMPORT
        return self.state == ScanState.COMPLETED and self.total == 0 and told

    @property
    def is_stale(self) -> bool:
        """It did its work, but too long ago to say how the asset is now."""
        done = self.state in (ScanState.COMPLETED, ScanState.COMPLETED_WITH_ERRORS)
        return bool(done and self.finished_at and self.finished_at < timezone.now() - FRESH_FOR)

    @property
    def is_known(self) -> bool:
        """Whether it says how the asset is: not where it goes on, failed, missed files or is too old."""
        return self.state == ScanState.COMPLETED and not self.is_stale

    @property
    def trouble(self) -> int:
        """How far it is from clean, which is 0; an asset stands as the worst of its tools does."""
        if self.state in ScanState.failures():
            return 4
        if self.state == ScanState.COMPLETED_WITH_ERRORS:
            return 3
        return 2 if self.is_stale else int(self.total > 0)

    @property
    def duration(self) -> timedelta | None:
        return (self.finished_at or timezone.now()) - self.started_at if self.started_at else None

    def give_up(self, reason: str) -> None:
        from scanning.services import fail_scan

        fail_scan(self, reason)


class Status(models.TextChoices):
    OPEN = "open", "Open"
    TRIAGED = "triaged", "Triaged"
    IN_PROGRESS = "in_progress", "In progress"
    FIXED = "fixed", "Fixed"
    FALSE_POSITIVE = "false_positive", "False positive"
    ACCEPTED = "accepted", "Accepted"
    DUPLICATE = "duplicate", "Duplicate"

    @classmethod
    def unresolved(cls) -> list[str]:
        return [cls.OPEN, cls.TRIAGED, cls.IN_PROGRESS]


class FindingQuerySet(GuardedQuerySet["Finding"]):
    def unresolved(self) -> Self:
        return self.filter(status__in=Status.unresolved())

    def overdue(self, *, at: datetime) -> Self:
        return self.unresolved().filter(due_at__lt=at)

    def due_soon(self, *, at: datetime) -> Self:
        return self.unresolved().filter(due_at__gte=at, due_at__lt=at + SOON)

    def owned_by(self, user: Any) -> Self:
        """Of one person; of nobody for None."""
        return self.filter(owner=user)

    def tagged(self, words: Iterable[str]) -> Self:
        """With one of them at least."""
        return self.filter(pk__in=Finding.objects.filter(tags__word__in=list(words)).values("pk"))

    def seen_first_since(self, at: datetime) -> Self:
        return self.filter(first_seen_at__gte=at)

    def fixed_since(self, at: datetime) -> Self:
        return self.filter(status=Status.FIXED, fixed_at__gte=at)

    def raised_by(self, scan: "Scan") -> Self:
        """New in this run, or reopened in its time: as many as it counted, or more where another run was at work.

        The trail knows when a finding was reopened; the row, only how it stands.
        """
        of_its_tool = self.filter(asset=scan.asset_id, scanner=scan.scanner)
        if not scan.reopened and scan.attempts < 2:  # a second attempt counts what the first reopened as the same
            return of_its_tool.filter(first_scan=scan)
        told = AuditEntry.objects.filter(
            event="findings:reopened", timestamp__gte=scan.started_at, timestamp__lte=scan.finished_at or timezone.now()
        )
        return of_its_tool.filter(models.Q(first_scan=scan) | models.Q(pk__in=told.values("object_id")))

    def known_as(self, name: str) -> Self:
        """Those that a report knows by this CVE, GHSA, …, whichever of its names that is."""
        return self.filter(pk__in=FindingAlias.objects.filter(name=name.strip().upper()).values("finding"))

    def with_fix(self, there_is: bool) -> Self:
        """Those whose report names a version without the fault, or those whose report names none."""
        return self.exclude(fix_version="") if there_is else self.filter(fix_version="")

    def matching(self, text: str) -> Self:
        """Title, rule, path, package, or the label F-123. The whole name of an advisory finds what has it, and no more:
        CVE-2021-4422 is not CVE-2021-44228."""
        if advisory_name(text):
            return self.known_as(text)
        label = text.removeprefix("F-").removeprefix("f-")
        number = models.Q(pk=int(label)) if label.isascii() and label.isdigit() and len(label) < 19 else models.Q()
        if number and label != text:
            return self.filter(number)
        words = models.Q()
        for name in ("title", "rule", "path", "package"):
            words |= models.Q(**{f"{name}__icontains": text})
        return self.filter(words | number if number else words)


class Finding(Detail):
    """One weakness of one asset, for as long as the scanner's fingerprint of it stays the same."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="findings", db_index=False)
    scanner = models.CharField(max_length=32)
    fingerprint = models.CharField(max_length=80)
    rule = models.CharField(max_length=200)
    title = models.CharField(max_length=300)
    description = models.TextField(blank=True)
    severity = models.SmallIntegerField(choices=Severity)
    confidence = models.CharField(max_length=16, blank=True)
    cwe = models.PositiveIntegerField("CWE", null=True, blank=True)
    path = models.CharField(max_length=1000)
    line = models.PositiveIntegerField(default=0)
    code = models.TextField(blank=True)
    help_url = models.CharField(max_length=500, blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.OPEN)
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    first_scan = models.ForeignKey(Scan, on_delete=models.PROTECT, related_name="+")
    last_scan = models.ForeignKey(Scan, on_delete=models.PROTECT, related_name="findings")
    due_at = models.DateTimeField(null=True, blank=True)
    # When its clock began anew: it was opened again, or rated otherwise. None: when it was first seen.
    counted_from = models.DateTimeField(null=True, blank=True, editable=False)
    fixed_at = models.DateTimeField(null=True, blank=True)
    owner: Any = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = FindingQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["asset", "scanner", "fingerprint"], name="one_finding_per_fingerprint"),
        ]
        # Lists find their page, and counts all they need, in the index alone. Asset by asset for who sees a few, in the
        # order of the list for who sees many. On PostgreSQL, 0009 adds one for searches.
        indexes = [
            models.Index(fields=["asset", "status", "severity", "id", "due_at", "scanner"], name="finding_of_asset"),
            models.Index(fields=["asset", "id"], name="finding_newest_of_asset"),
            models.Index(fields=["-severity", "id", "status", "asset", "scanner"], name="finding_severest"),
            models.Index(fields=["status", "-severity", "id", "asset"], name="finding_queue"),
            models.Index(
                fields=["due_at"], name="finding_due", condition=models.Q(status__in=["open", "triaged", "in_progress"])
            ),
            models.Index(fields=["id"], name="finding_exploited", condition=models.Q(is_known_exploited=True)),
            models.Index(fields=["first_seen_at", "status", "asset"], name="finding_arrived"),
            models.Index(
                fields=["fixed_at", "status", "asset", "severity", "due_at"],
                name="finding_fixed",
                condition=models.Q(fixed_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.label} {self.title}"

    @property
    def label(self) -> str:
        return f"F-{self.pk}"

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path

    @property
    def severity_word(self) -> str:
        return Severity(self.severity).word

    @property
    def is_unresolved(self) -> bool:
        return self.status in Status.unresolved()

    def code_lines(self) -> list[tuple[int, str, bool]]:
        """The excerpt as (number, text, is the flagged line)."""
        lines: list[tuple[int, str, bool]] = []
        for raw in self.code.splitlines():
            number, _, text = raw.partition(" ")
            if number.isdigit():
                lines.append((int(number), text, int(number) == self.line))
        return lines

    def get_absolute_url(self) -> Any:
        from django.urls import reverse

        return reverse("finding", args=[self.uid])


class FindingAlias(models.Model):
    """`aliases` of a finding in upper case, one a row: the index that finds it by each, on both databases."""

    finding = models.ForeignKey(Finding, on_delete=models.CASCADE, related_name="names")
    name = models.CharField(max_length=100)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["name", "finding"], name="one_alias_per_finding")]

    def __str__(self) -> str:
        return self.name
