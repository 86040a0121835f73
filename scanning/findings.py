"""From reports to findings: the fingerprint, what is new, same or reopened, and what a complete run closes.

Set-based: the cost of a part of a scan is a few queries, not a few per finding. Each finding still gets its own
entry in the trail.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple, Self, TypeVar

from django.db import connection, transaction
from django.utils import timezone

from opssight.kernel.events import bulk_record, bulk_write
from scanning import events
from scanning.advisories.rating import rate
from scanning.detail import RATED
from scanning.models import Finding, FindingAlias, Scan, Severity, Status
from scanning.reports.base import RawFinding
from scanning.sla.services import Hours, due_at, hours_of

FINGERPRINT_VERSION = 1
BATCH = 500
MAX_ALIASES = 50
T = TypeVar("T")
# Of what a report says anew of a finding that stays, what an import does not give back when it is taken back.
PLACE = ("line", "end_line", "code")


class Before(NamedTuple):
    """How a finding was, in what a report changes of it, and the status that this gave it.

    `detail` holds what the report said otherwise than the one before, as that had said it.
    """

    finding: int
    status: str
    severity: int
    due_at: datetime | None
    fixed_at: datetime | None
    became: str = ""
    detail: Mapping[str, Any] = {}

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

    A fingerprint that an export of ours brings back stays.

    All findings of a file must come in one call, since equal ones are told apart by their order in it. What a report
    says twice of the same place is one, with its `occurrences`. What stands before the colon is the version of this
    rule: one that another version made is another finding, so no column of its own has to say so.
    """
    seen: Counter[tuple[str, ...]] = Counter()
    said: dict[tuple[object, ...], str] = {}
    marked: dict[str, RawFinding] = {}
    times: Counter[str] = Counter()
    for raw in sorted(found, key=lambda raw: (raw.path, raw.line, raw.column)):
        if raw.mark.startswith(f"{FINGERPRINT_VERSION}:"):
            marked.setdefault(raw.mark, raw)
            continue
        code = " ".join(raw.flagged.split())
        key = (scanner, "", "", raw.identity) if raw.identity else (scanner, raw.rule, raw.path, code)
        place = (*key, raw.line, raw.column, raw.end_line, raw.end_column, raw.package_version)
        if (raw.column or raw.package) and place in said:
            times[said[place]] += 1
            continue
        seen[key] += 1
        text = "\0".join([*key, str(seen[key])])
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
        mark = f"{FINGERPRINT_VERSION}:{digest[:40]}"
        said[place], marked[mark] = mark, raw
    for mark, more in times.items():
        marked[mark] = replace(marked[mark], occurrences=1 + more)
    yield from marked.items()


def hold(scan: Scan) -> None:
    """Lock all that the tool has found on the asset, in the order in which bulk actions lock: who goes over findings in
    another order, or twice, would else wait for one that waits for them."""
    if connection.features.has_select_for_update:
        rows = Finding.objects.filter(asset=scan.asset, scanner=scan.scanner).select_for_update().order_by("pk")
        list(rows.values_list("pk", flat=True))


@transaction.atomic
def record(scan: Scan, found: Iterable[RawFinding]) -> Tally:
    """Store what one part of a scan reported. Running it twice for the same scan changes nothing.

    What the tool was told to leave (`suppressed`) raises nothing and changes nothing; being there, it is not gone.
    """
    now, tally, hours = timezone.now(), Tally(), hours_of(scan.asset.unit_id)
    marked = list(fingerprints(scan.scanner, found))
    if len(marked) > BATCH:
        hold(scan)
    rest = iter(marked)
    while batch := dict(islice(rest, BATCH)):
        # Locked, in the order in which bulk actions lock: what somebody decides meanwhile comes before or after, whole.
        found_before = Finding.objects.filter(asset=scan.asset, scanner=scan.scanner, fingerprint__in=batch)
        known = {finding.fingerprint: finding for finding in found_before.select_for_update().order_by("pk")}
        counted = {mark: raw for mark, raw in batch.items() if not raw.suppressed}
        fresh = [_new(scan, mark, raw, now, hours) for mark, raw in counted.items() if mark not in known]
        again = [(known[mark], raw) for mark, raw in counted.items() if mark in known]
        back = [finding for finding, _ in again if finding.status == Status.FIXED]
        was = {finding.pk: Before.of(finding) for finding, _ in again}
        said = {finding: before for finding, raw in again if (before := _seen_again(finding, raw, now, hours))}
        other = [finding for finding, _ in again if was[finding.pk] != Before.of(finding)]
        renamed = [finding for finding, before in said.items() if "aliases" in before]
        rate([*fresh, *renamed])
        if fresh or other:
            with bulk_write():
                Finding.objects.bulk_create(fresh)
                bulk_record(events.FINDING_RAISED, ((finding, _told(finding)) for finding in fresh))
                Finding.objects.bulk_update(other, ["severity", "status", "due_at", "counted_from", "fixed_at"])
                for event, rows in ((events.FINDING_REOPENED, back), (events.FINDING_RERATED, set(other) - set(back))):
                    bulk_record(event, [(finding, _difference(finding, was[finding.pk])) for finding in rows])
        Finding.objects.filter(pk__in=[f.pk for f in known.values()]).update(last_seen_at=now, last_scan=scan)
        name_again(renamed, fresh)
        if said:
            fields = {name for before in said.values() for name in before}.union(RATED if renamed else ())
            Finding.objects.bulk_update(said, sorted(fields))
        old = sum(1 for finding, _ in again if finding.first_scan_id != scan.pk) - len(back)
        tally.new += len(counted) - old - len(back)
        tally.same += old
        tally.reopened += len(back)
        detail = {finding: before for finding in said if (before := _without_place(said[finding]))}
        tally.before += [
            was[finding.pk]._replace(became=finding.status, detail=detail.get(finding, {}))
            for finding in dict.fromkeys([*other, *detail])
        ]
    return tally


def close_missing(scan: Scan, files: Collection[str] | None = None) -> list[Before]:
    """Mark fixed what a complete run no longer reports, in `files` or everywhere, and say how it was.

    The caller vouches that the run was complete.
    """
    now, closed, last = timezone.now(), list[Before](), 0
    gone = Finding.objects.unresolved().filter(asset=scan.asset, scanner=scan.scanner).exclude(last_scan=scan)
    while True:
        with transaction.atomic():
            batch = list(gone.filter(pk__gt=last).select_for_update().order_by("pk")[:BATCH])
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
        help_url=raw.help_url[:500],
        **_detail(raw),
        first_seen_at=now,
        last_seen_at=now,
        first_scan=scan,
        last_scan=scan,
        due_at=due_at(hours, raw.severity, now),
    )


def _detail(raw: RawFinding) -> dict[str, Any]:
    """What a report may say otherwise the next time, as the columns hold it."""
    return {
        "line": raw.line,
        "end_line": raw.end_line,
        "code": storable(raw.code),
        "package": storable(raw.package)[:200],
        "package_version": storable(raw.package_version)[:100],
        "fix_version": storable(raw.fix_version)[:200],
        "aliases": [storable(name)[:100] for name in raw.aliases[:MAX_ALIASES]],
        "cvss": None if raw.cvss is None else Decimal(str(raw.cvss)).quantize(Decimal("0.1")),
        "cvss_vector": storable(raw.cvss_vector)[:200],
        "occurrences": raw.occurrences,
    }


def _seen_again(finding: Finding, raw: RawFinding, now: datetime, hours: Hours) -> dict[str, Any]:
    """Bring it up to date, and say what of its place and detail was otherwise before."""
    if finding.severity != raw.severity:  # another severity, another deadline, counted from when it became known
        finding.severity, finding.due_at = raw.severity, due_at(hours, raw.severity, now)
        finding.counted_from = now
    if finding.status == Status.FIXED:
        finding.status, finding.fixed_at = Status.OPEN, None
        finding.due_at, finding.counted_from = due_at(hours, raw.severity, now), now
    before = dict[str, Any]()
    for name, value in _detail(raw).items():
        if (old := getattr(finding, name)) != value:
            before[name] = old
            setattr(finding, name, value)
    return before


def _without_place(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name not in PLACE}


def name_again(known: Collection[Finding], fresh: Collection[Finding] = ()) -> None:
    """Bring the index of their aliases up to date; of `fresh` ones there is none yet."""
    if known:
        FindingAlias.objects.filter(finding__in=known).delete()
    rows = [
        FindingAlias(finding=finding, name=name)
        for finding in (*fresh, *known)
        for name in dict.fromkeys(alias.upper()[:100] for alias in finding.aliases)
    ]
    if rows:
        FindingAlias.objects.bulk_create(rows, batch_size=BATCH)


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
