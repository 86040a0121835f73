"""What a tool found, for as long as its fingerprint stays the same."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from audit.models import AuditEntry
from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.ids import new_uid
from scanning.detail import Detail, advisory_name
from scanning.models.assets import Asset
from scanning.models.scans import Scan


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


SOON = timedelta(days=3)  # a deadline this near is worth a look


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
