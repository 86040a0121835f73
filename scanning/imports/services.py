"""Taking a report in, trying it, and taking it back. All of a report counts, or nothing of it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from django.db import transaction
from django.db.models import Count, F, Q
from django.utils import timezone

from opssight.kernel.access import check
from opssight.kernel.errors import Refusal
from opssight.kernel.events import bulk_record, bulk_write
from scanning import events as scan_events
from scanning import findings, reports, retired
from scanning.advisories.rating import rate
from scanning.detail import RATED
from scanning.imports import events
from scanning.imports.models import Change, Import
from scanning.models import Asset, Finding, Scan, ScanState, Severity, Status
from scanning.sla.services import began, hours_of
from scanning.triage import services as triage
from scanning.triage.models import Decision

COUNTS = ("new", "same", "fixed", "reopened")
BATCH = 500
NAMED = 10  # findings of each kind that are told by name
CHUNK = 1 << 20
MAX_TOLD = 1000  # findings that the answer to a trial lists
TOLD_OF_RAISED = ("scanner", "rule", "title", "severity", "path", "line", "cwe", "help_url", "fingerprint")


NOTHING_READ = (
    "The report names no file that was read, so it says nothing of the asset. Was the tool at the right place?"
)
# Gitleaks, checkov, detect-secrets, trivy and SARIF have no place for it; an empty list is how they say "nothing".
SCOPE_UNKNOWN = (
    "The report names no finding and does not tell what was read. What was open is closed on the word of whoever sent "
    "it, and the asset is not called clean."
)


class Unusable(Refusal):
    """The report can't be taken in; the sentence says where and what to do."""

    status = 400


class NotUndone(Refusal):
    status = 409


@dataclass(frozen=True)
class Told:
    """What became of findings: how many of each severity, most severe first, and the first few by name."""

    counts: dict[Severity, dict[str, int]]
    shown: list[tuple[str, Finding]]


@dataclass(frozen=True)
class Diff:
    """What a report came to, or would: findings by what became of them.

    After a trial `row` is None, `raised` holds what would be new or reopened, most severe first, cut at MAX_TOLD, and
    `trial` what can't be asked afterwards.
    """

    row: Import | None
    scans: list[Scan]
    raised: list[dict[str, Any]] = field(default_factory=list)
    digest: str = ""
    trial: Told | None = None

    def counts(self) -> dict[str, int]:
        return {name: sum(getattr(scan, name) for scan in self.scans) for name in COUNTS}


@dataclass(frozen=True)
class Undone:
    """Findings that went, that are as they were, and that were decided or seen since and so stay as they are."""

    withdrawn: int
    restored: int
    kept: int


def import_report(
    asset: Asset, file: BinaryIO, *, name: str = "", format: str = "", is_partial: bool = False, dry_run: bool = False,
    by: Any = None,
) -> Diff:  # fmt: skip
    """Take in the report on `asset`, and close what it no longer names: of a partial one, in the files that it read.

    Unusable where it can't be read; a refusal where `by` may not import for the asset.
    """
    row = Import(asset=asset, imported_by=by, name=findings.storable(name)[:200], is_partial=is_partial)
    if by is not None:
        check(by, "imports:create", row, about=asset)
    row.digest = digest_of(file)
    try:
        runs = reports.read(file, format)
    except reports.UnreadableReport as error:
        raise Unusable(str(error)) from None
    with transaction.atomic():
        scans = _take(row, runs)
        if not dry_run:
            return Diff(row, scans, digest=row.digest)
        diff = Diff(None, scans, _raised(row, scans), row.digest, told(row))
        transaction.set_rollback(True)
    return diff


def _raised(row: Import, scans: list[Scan]) -> list[dict[str, Any]]:
    reopened = row.changes.filter(status=Status.FIXED, became=Status.OPEN).values("finding")
    rows = Finding.objects.filter(Q(first_scan__in=scans) | Q(pk__in=reopened)).order_by("-severity", "path", "pk")
    return [{**told, "severity": Severity(told["severity"]).word} for told in rows.values(*TOLD_OF_RAISED)[:MAX_TOLD]]


def told(row: Import) -> Told:
    """Four queries, whatever the report brought. What an undone import alone had seen is gone, and not counted."""
    seen = Finding.objects.filter(asset=row.asset_id, last_scan__in=row.scans.all())
    changed = row.changes.exclude(status=F("became"))
    closed = Finding.objects.filter(pk__in=changed.filter(became=Status.FIXED).values("finding"))
    back = seen.filter(pk__in=changed.filter(status=Status.FIXED).values("finding"))
    new = Finding.objects.filter(asset=row.asset_id, first_scan__in=row.scans.all())
    same = seen.exclude(first_scan__in=row.scans.all()).exclude(pk__in=back.values("pk"))
    found = {"new": new, "same": same, "fixed": closed, "reopened": back}
    by_severity = {
        name: dict(rows.order_by().values_list("severity").annotate(n=Count("pk"))) for name, rows in found.items()
    }
    counts = {
        severity: {name: by_severity[name].get(severity, 0) for name in COUNTS}
        for severity in sorted(Severity, reverse=True)
    }
    shown = [
        (name, finding)
        for name in ("new", "reopened", "fixed")
        if any(by_severity[name].values())
        for finding in found[name].order_by("-severity", "id")[:NAMED]
    ]
    return Told(counts, shown)


def digest_of(file: BinaryIO) -> str:
    """SHA-256 in hex of the rest of the file, which is then where it was."""
    start, digest = file.tell(), hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    file.seek(start)
    return digest.hexdigest()


def _take(row: Import, runs: Iterable[reports.Run]) -> list[Scan]:
    # One at a time for an asset: two reports at once would each call the other's findings gone.
    # No key lock, since decisions about its findings name the asset too, and must not wait for all of an import.
    Asset.objects.select_for_update(no_key=True).get(pk=row.asset_id)
    row.save()
    scans = [_record(row, run) for run in runs]
    row.scans.set(scans)
    return scans


def _record(row: Import, run: reports.Run) -> Scan:
    now = timezone.now()
    retired.give_back(row.asset, run.tool[:32])
    scan = Scan.objects.create(
        asset=row.asset, scanner=run.tool[:32], scanner_version=run.version[:32], trigger=Scan.Trigger.IMPORT,
        requested_by=row.imported_by, state=ScanState.RUNNING, started_at=now,
    )  # fmt: skip
    findings.hold(scan)
    tally = findings.record(scan, run.findings)
    before, fixed = tally.before, 0
    errors = [f"{file}: {reason}" for file, reason in run.errors.items()]
    if run.files == set() and not run.findings and not errors:
        errors = [NOTHING_READ]
    if run.complete and not errors:
        closed = findings.close_missing(scan, (run.files or set()) if row.is_partial else None)
        before, fixed = before + closed, len(closed)
    _remember(row, before)
    scan.new, scan.same, scan.reopened, scan.fixed = tally.new, tally.same, tally.reopened, fixed
    scan.files_read = len(run.files or ())
    scan.state = ScanState.COMPLETED_WITH_ERRORS if errors or not run.complete else ScanState.COMPLETED
    told = errors[:20] or [SCOPE_UNKNOWN] * (run.files is None and not run.findings)
    scan.reason, scan.finished_at = findings.storable("\n".join(told)), timezone.now()
    scan.save()
    scan_events.SCAN_FINISHED.emit(
        target=scan, state=scan.state, new=scan.new, same=scan.same, fixed=fixed, reopened=scan.reopened
    )
    return scan


def _remember(row: Import, before: list[findings.Before]) -> None:
    Change.objects.bulk_create(
        (
            Change(
                imported=row, finding_id=was.finding, status=was.status, severity=was.severity, due_at=was.due_at,
                fixed_at=was.fixed_at, became=was.became, detail=was.detail,
            )
            for was in before
        ),
        batch_size=BATCH,
    )  # fmt: skip


# --- taking back ----------------------------------------------------------------------------------------------------


def would_undo(row: Import) -> Undone:
    """What `undo` would come to now."""
    ids = set(row.scans.values_list("pk", flat=True))
    restored = kept = 0
    for change in row.changes.select_related("finding").iterator(BATCH):
        is_changed = _is_ours(change) or bool(change.detail and change.finding.last_scan_id in ids)
        restored, kept = restored + is_changed, kept + (not is_changed)
    raised = Finding.objects.filter(first_scan__in=ids)
    ours = row.changes.filter(finding__status=F("became"), status=Status.OPEN)
    gone = raised.filter(Q(status=Status.OPEN) | Q(pk__in=ours.values("finding")), last_scan__in=ids).count()
    return Undone(gone, restored, kept + raised.count() - gone)


@transaction.atomic
def undo(row: Import, *, by: Any = None) -> Undone:
    """As if the report had not come, but for what people decided and other scans saw since.

    NotUndone where that was done already.
    """
    if by is not None:
        check(by, "imports:undo", row)
    Asset.objects.select_for_update(no_key=True).get(pk=row.asset_id)
    row.refresh_from_db()
    if row.undone_at is not None:
        raise NotUndone(f"This import was undone on {row.undone_at:%Y-%m-%d %H:%M} UTC.")
    scans = list(row.scans.all())
    restored, kept = _restore(row, scans)
    withdrawn, seen = _withdraw(scans)
    for scan in scans:
        scan.state, scan.reason = ScanState.UNDONE, "Its import was undone, so it says nothing any more."
        scan.save()
    row.undone_at = timezone.now()
    row.save()
    done = Undone(withdrawn, restored, kept + seen)
    events.IMPORT_UNDONE.emit(target=row, withdrawn=withdrawn, restored=restored, kept=done.kept)
    return done


def _restore(row: Import, scans: list[Scan]) -> tuple[int, int]:
    restored, kept, hours = 0, 0, hours_of(row.asset.unit_id)
    ids = {scan.pk for scan in scans}
    changes = row.changes.order_by("finding_id", "pk")
    for start in range(0, changes.count(), BATCH):
        batch = list(changes[start : start + BATCH])
        keys = {change.finding_id for change in batch}
        locked = Finding.objects.select_for_update(of=("self",)).filter(pk__in=keys).order_by("pk")
        found = {finding.pk: finding for finding in locked}
        for change in batch:
            change.finding = found[change.finding_id]
        told = [change for change in batch if _is_ours(change)]
        for change in told:
            finding = change.finding
            finding.status, finding.severity = change.status, change.severity
            finding.due_at, finding.fixed_at = change.due_at, change.fixed_at
            finding.counted_from = began(hours, change.severity, change.due_at)
        with bulk_write():
            news = [(change.finding, {"status": [change.became, change.status]}) for change in told]
            bulk_record(scan_events.FINDING_RESTORED, news)
            rows = [change.finding for change in told]
            Finding.objects.bulk_update(rows, ["status", "severity", "due_at", "counted_from", "fixed_at"])
        # What a later run has told of it stands, whatever became of its state.
        retold = [change for change in batch if change.detail and change.finding.last_scan_id in ids]
        _restore_detail(retold)
        changed = {change.pk for change in (*told, *retold)}
        restored += len(changed)
        kept += len(batch) - len(changed)
    return restored, kept


def _is_ours(change: Change) -> bool:
    """Whether the finding stands as this change left it, and stood otherwise before."""
    return change.finding.status == change.became and _state(change) != _state(change.finding)


def _state(row: Change | Finding) -> tuple[object, ...]:
    return row.status, row.severity, row.due_at, row.fixed_at


def _restore_detail(changes: list[Change]) -> None:
    if not changes:
        return
    for change in changes:
        for name, value in change.detail.items():
            setattr(change.finding, name, value)
    rows = [change.finding for change in changes]
    fields = {name for change in changes for name in change.detail}
    if renamed := [change.finding for change in changes if "aliases" in change.detail]:
        findings.name_again(renamed)
        rate(renamed)
        fields |= set(RATED)
    Finding.objects.bulk_update(rows, sorted(fields))


def _withdraw(scans: list[Scan]) -> tuple[int, int]:
    """Findings that these scans alone have seen and nobody has decided on go; the others stay."""
    raised = Finding.objects.filter(first_scan__in=scans)
    alone, withdrawn = raised.filter(last_scan__in=scans, status=Status.OPEN), 0
    while batch := list(alone.select_for_update(of=("self",)).order_by("pk")[:BATCH]):
        waiting = Decision.objects.waiting().filter(finding__in=batch).select_related("finding", "decided_by")
        triage.close(list(waiting), "The import that brought the finding was undone.")
        with bulk_write():
            bulk_record(events.FINDING_WITHDRAWN, [(finding, {"status": [finding.status, None]}) for finding in batch])
            Finding.objects.filter(pk__in=[finding.pk for finding in batch]).delete()
        withdrawn += len(batch)
    return withdrawn, raised.count()
