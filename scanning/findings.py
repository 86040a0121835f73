"""From reports to findings: the fingerprint, what is new, same or reopened, and what a complete run closes.

Set-based: the cost of a part of a scan is a few queries, not a few per finding. Each finding still gets its own
entry in the trail.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple, Self, TypeVar

from django.db import transaction
from django.utils import timezone

from opssight.kernel.events import bulk_record, bulk_write
from scanning import events
from scanning.models import Finding, Scan, Severity, Status
from scanning.reports.base import RawFinding
from scanning.sla.services import Hours, due_at, hours_of

FINGERPRINT_VERSION = 1
BATCH = 500
T = TypeVar("T")


class Before(NamedTuple):
    """How a finding was, in what a report changes of it, and the status that this gave it."""

    finding: int
    status: str
    severity: int
    due_at: datetime | None
    fixed_at: datetime | None
    became: str = ""

    @classmethod
    def of(cls, finding: Finding) -> Self:
        return cls(finding.pk, finding.status, finding.severity, finding.due_at, finding.fixed_at)


@dataclass
class Tally:
    """What a report came to. `before` are the known findings that it gave another state."""

    new: int = 0
    same: int = 0
    reopened: int = 0
    before: list[Before] = field(default_factory=list)


def fingerprints(scanner: str, found: Iterable[RawFinding]) -> Iterator[tuple[str, RawFinding]]:
    """Identity that survives line shifts: tool, rule, path, the flagged code without its spacing, and the how-many-eth.
    What has an identity of its own (a dependency, a secret) is known by that in the place of rule, path and code.

    All findings of a file must come in one call, since equal ones are told apart by their order in it. What a report
    says twice of the same place is one.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    said: set[tuple[object, ...]] = set()
    for raw in sorted(found, key=lambda raw: (raw.path, raw.line, raw.column)):
        code = " ".join(raw.flagged.split())
        key = (scanner, "", "", raw.identity) if raw.identity else (scanner, raw.rule, raw.path, code)
        if raw.column or raw.package:
            place = (*key, raw.line, raw.column, raw.end_line, raw.end_column, raw.package_version)
            if place in said:
                continue
            said.add(place)
        seen[key] += 1
        text = "\0".join([*key, str(seen[key])])
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        yield f"{FINGERPRINT_VERSION}:{digest[:40]}", raw


@transaction.atomic
def record(scan: Scan, found: Iterable[RawFinding]) -> Tally:
    """Store what one part of a scan reported. Running it twice for the same scan changes nothing.

    What the tool was told to leave (`suppressed`) raises nothing and changes nothing; being there, it is not gone.
    """
    now, tally, hours = timezone.now(), Tally(), hours_of(scan.asset.unit_id)
    marked = iter(dict(fingerprints(scan.scanner, found)).items())
    while batch := dict(islice(marked, BATCH)):
        known = {
            finding.fingerprint: finding
            for finding in Finding.objects.filter(asset=scan.asset, scanner=scan.scanner, fingerprint__in=batch)
        }
        counted = {mark: raw for mark, raw in batch.items() if not raw.suppressed}
        fresh = [_new(scan, mark, raw, now, hours) for mark, raw in counted.items() if mark not in known]
        again = [(known[mark], raw) for mark, raw in counted.items() if mark in known]
        back = [finding for finding, _ in again if finding.status == Status.FIXED]
        was = {finding.pk: Before.of(finding) for finding, _ in again}
        moved = [finding for finding, raw in again if _seen_again(finding, raw, now, hours)]
        other = [finding for finding, _ in again if was[finding.pk] != Before.of(finding)]
        with bulk_write():
            Finding.objects.bulk_create(fresh)
            bulk_record(events.FINDING_RAISED, ((finding, _told(finding)) for finding in fresh))
            Finding.objects.bulk_update(other, ["severity", "status", "due_at", "counted_from", "fixed_at"])
            for event, changed in ((events.FINDING_REOPENED, back), (events.FINDING_RERATED, set(other) - set(back))):
                bulk_record(event, [(finding, _difference(finding, was[finding.pk])) for finding in changed])
            Finding.objects.filter(pk__in=[f.pk for f in known.values()]).update(last_seen_at=now, last_scan=scan)
        Finding.objects.bulk_update(moved, ["line", "code"])
        old = sum(1 for finding, _ in again if finding.first_scan_id != scan.pk) - len(back)
        tally.new += len(counted) - old - len(back)
        tally.same += old
        tally.reopened += len(back)
        tally.before += [was[finding.pk]._replace(became=finding.status) for finding in other]
    return tally


def close_missing(scan: Scan, files: Collection[str] | None = None) -> list[Before]:
    """Mark fixed what a complete run no longer reports, in `files` or everywhere, and say how it was.

    The caller vouches that the run was complete.
    """
    now, closed, last = timezone.now(), list[Before](), 0
    gone = Finding.objects.unresolved().filter(asset=scan.asset, scanner=scan.scanner).exclude(last_scan=scan)
    while True:
        with transaction.atomic():
            batch = list(gone.filter(pk__gt=last).order_by("pk")[:BATCH])
            if not batch:
                return closed
            inside = [finding for finding in batch if files is None or finding.path in files]
            with bulk_write():
                bulk_record(events.FINDING_FIXED, [(f, {"status": [f.status, Status.FIXED.value]}) for f in inside])
                Finding.objects.filter(pk__in=[f.pk for f in inside]).update(status=Status.FIXED, fixed_at=now)
            closed += [Before.of(finding)._replace(became=Status.FIXED) for finding in inside]
            last = batch[-1].pk


def _new(scan: Scan, mark: str, raw: RawFinding, now: datetime, hours: Hours) -> Finding:
    return Finding(
        asset=scan.asset,
        scanner=scan.scanner,
        fingerprint=mark,
        rule=raw.rule[:200],
        title=storable(raw.title)[:300],
        description=storable(raw.description),
        severity=raw.severity,
        confidence=raw.confidence[:16],
        cwe=raw.cwe,
        path=storable(raw.path)[:1000],
        line=raw.line,
        code=storable(raw.code),
        help_url=raw.help_url[:500],
        first_seen_at=now,
        last_seen_at=now,
        first_scan=scan,
        last_scan=scan,
        due_at=due_at(hours, raw.severity, now),
    )


def _seen_again(finding: Finding, raw: RawFinding, now: datetime, hours: Hours) -> bool:
    """Bring it up to date; says whether its code moved or changed."""
    if finding.severity != raw.severity:  # another severity, another deadline, counted from when it became known
        finding.severity, finding.due_at = raw.severity, due_at(hours, raw.severity, now)
        finding.counted_from = now
    if finding.status == Status.FIXED:
        finding.status, finding.fixed_at = Status.OPEN, None
        finding.due_at, finding.counted_from = due_at(hours, raw.severity, now), now
    place = finding.line, finding.code
    finding.line, finding.code = raw.line, storable(raw.code)
    return place != (finding.line, finding.code)


def _difference(finding: Finding, was: Before) -> dict[str, list[object]]:
    """What has changed of a finding that was known."""
    told: dict[str, list[object]] = {}
    if was.status != finding.status:
        told["status"] = [was.status, finding.status]
    if was.severity != finding.severity:
        told["severity"] = [Severity(was.severity).word, Severity(finding.severity).word]
    return told


def _told(finding: Finding) -> dict[str, list[object]]:
    """What the trail keeps of a new finding; the code stays out, since it may hold a secret."""
    return {
        "severity": [None, Severity(finding.severity).word],
        "rule": [None, finding.rule],
        "path": [None, finding.path],
        "status": [None, finding.status],
    }


def storable(value: str) -> str:
    """File names and code may hold anything; a text column may not."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
