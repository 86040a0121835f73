"""Writing the catalogue, evaluating controls, and reading how they stand."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import models, transaction
from django.utils import timezone

from audit.canonical import canonical, clean
from compliance import events
from compliance.catalogue.controls import CONTROLS
from compliance.catalogue.frameworks import FRAMEWORKS
from compliance.checks import base, identity, vulnerabilities  # noqa: F401  (register their tests)
from compliance.models import Contribution, Control, Framework, Requirement, Result, ResultRow, RowSet, State
from opssight.kernel.access import permitted, resources
from opssight.kernel.actor import Actor, acting

log = logging.getLogger("opssight.compliance")
SCHEDULE = Actor(kind="system", label="Controls")
BROKEN = "The test stopped on an error of OpsSight itself ({}), so nothing is known. The log has the details."
NEVER = "Never evaluated. Evaluate it now, or wait for the next full hour."


def sync_catalogue(**kwargs: Any) -> None:
    """After each migration: the tables say what the catalogue says. A control that left it keeps its results."""
    with transaction.atomic():
        requirements: dict[tuple[str, str], Requirement] = {}
        for key, (name, version, titles) in FRAMEWORKS.items():
            framework, _ = Framework.objects.update_or_create(key=key, defaults={"name": name, "version": version})
            for ref, title in titles.items():
                requirements[key, ref], _ = Requirement.objects.update_or_create(
                    framework=framework, ref=ref, defaults={"title": title}
                )
        for entry in CONTROLS:
            control, _ = Control.objects.update_or_create(
                key=entry.key,
                defaults={
                    "title": entry.title,
                    "description": entry.description,
                    "kind": entry.kind,
                    "weight": entry.weight,
                    "max_age_hours": entry.max_age_hours,
                    "params": dict(entry.params),
                },
            )
            served = [requirements[key, ref] for key, refs in entry.serves.items() for ref in refs]
            control.contributions.exclude(requirement__in=served).delete()
            for requirement in served:
                Contribution.objects.get_or_create(control=control, requirement=requirement)


# --- evaluating ---------------------------------------------------------------------------------------------------


def evaluate(control: Control, *, at: datetime | None = None) -> Result:
    """Run the control's test and record what it found. A test that raises is recorded as an error, never as a pass.

    Evaluations of one control wait for each other, so that the newest result is the one that looked last.
    """
    with transaction.atomic():
        control = Control.objects.select_for_update().get(pk=control.pk)
        before = control.results.order_by("-id").first()
        at = at or timezone.now()
        state, reason, rows, row_set = _tested(control, at)
        result = Result.objects.create(
            control=control,
            state=state,
            reason=reason,
            population=len(rows),
            failed=sum(row.failed for row in rows),
            row_set=row_set,
            params=control.params,
            evaluated_at=at,
            valid_until=at + timedelta(hours=control.max_age_hours),
        )
        _tell(result, before)
    return result


def evaluate_all(*, at: datetime | None = None) -> list[Result]:
    return [evaluate(control, at=at) for control in Control.objects.order_by("key")]


def evaluate_by_schedule() -> None:
    with acting(SCHEDULE):
        evaluate_all()


def _tested(control: Control, at: datetime) -> tuple[State, str, Sequence[base.Row], RowSet]:
    try:
        with transaction.atomic():  # what fails in here leaves the outer transaction whole
            found = base.registry[control.key](control.params, at)
            return found.state, str(clean(found.reason)), found.rows, _stored(found.rows)
    except Exception as error:
        log.exception("control %s", control.key)
        return State.ERROR, BROKEN.format(type(error).__name__), (), _stored(())


def _stored(found: Iterable[base.Row]) -> RowSet:
    rows = [
        ResultRow(
            resource_type=row.resource_type,
            resource_uid=row.uid,
            failed=row.failed,
            label=clean(row.label)[:300],
            detail=clean(row.detail)[:500],
        )
        for row in found
    ]
    row_set, is_new = RowSet.objects.get_or_create(digest=digest_of(rows))
    if is_new:
        for row in rows:
            row.row_set = row_set
        ResultRow.objects.bulk_create(rows, batch_size=500)
    return row_set


def digest_of(rows: Iterable[ResultRow]) -> str:
    """SHA-256 over the canonical JSON of what each row says, in the order of what it is about; 64 hex characters."""
    said = sorted([row.resource_type, str(row.resource_uid), row.failed, row.label, row.detail] for row in rows)
    return hashlib.sha256(canonical({"rows": said})).hexdigest()


def _tell(result: Result, before: Result | None) -> None:
    """Each evaluation, with the digest of its rows; and what changed since the one before."""
    control, state, was = result.control, result.state, before.state if before else None
    events.CONTROL_EVALUATED.emit(
        target=control,
        success=state != State.ERROR,
        error=result.reason if state == State.ERROR else "",
        result=str(result.uid),
        state=state,
        population=result.population,
        failed=result.failed,
        digest=result.row_set.digest,
    )
    if state == was:
        return
    if state == State.FAIL:
        events.CONTROL_FAILED.emit(target=control, was=was, failed=result.failed, population=result.population)
    elif state == State.PASS and was is not None:
        events.CONTROL_RECOVERED.emit(target=control, was=was)
    elif was == State.PASS:
        events.CONTROL_LOST.emit(target=control, state=state, reason=result.reason)


# --- reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """How a control stands at a moment: as its newest result, unless that is missing or has grown too old."""

    control: Control
    result: Result | None
    state: State
    reason: str
    stale: bool

    @property
    def kind(self) -> str:
        """The state, with the two kinds of unknown that say why told apart: never evaluated, and grown too old."""
        if self.result is None:
            return "never"
        return "stale" if self.stale else str(self.state)


def readings(controls: Iterable[Control], *, at: datetime) -> list[Reading]:
    """One reading for each of `controls`, which come from `with_latest()`; one query."""
    controls = list(controls)
    latest: list[int | None] = [control.latest_id for control in controls]  # type: ignore[attr-defined]
    results = Result.objects.select_related("row_set").in_bulk([pk for pk in latest if pk])
    return [reading(control, results.get(pk) if pk else None, at) for control, pk in zip(controls, latest, strict=True)]


def reading(control: Control, result: Result | None, at: datetime) -> Reading:
    """How `control` stands if `result` is its newest one."""
    if result is None:
        return Reading(control, None, State.UNKNOWN, NEVER, stale=False)
    return Reading(control, result, *result.read_at(at), stale=result.is_stale(at))


@dataclass(frozen=True)
class NamedRow:
    """A row with the name its reader may know, and the record itself where the reader may see it."""

    row: ResultRow
    name: str
    record: models.Model | None


def named(rows: Iterable[ResultRow], reader: Any) -> list[NamedRow]:
    """The rows as `reader` may see them; one query per kind of record."""
    rows, uids = list(rows), defaultdict[str, list[UUID]](list)
    for row in rows:
        uids[row.resource_type].append(row.resource_uid)
    seen = {(kind, record.uid): record for kind, some in uids.items() for record in _visible(kind, some, reader)}
    return [_named(row, seen.get((row.resource_type, row.resource_uid))) for row in rows]


def _named(row: ResultRow, record: models.Model | None) -> NamedRow:
    return NamedRow(row, row.label or (str(record) if record else f"{row.resource_uid}"), record)


def _visible(resource_type: str, uids: list[UUID], reader: Any) -> Iterable[Any]:
    """None of a kind that nobody registered for reading, or that an older version knew."""
    for resource in resources.values():
        model = resource.model
        if model is not None and model._meta.label_lower == resource_type and "read" in resource.actions:
            return permitted(model._default_manager.filter(uid__in=uids), reader, f"{resource.name}:read")
    return ()
