"""Scans: asking for one, running it, ending it."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from opssight.kernel.access import check
from opssight.kernel.actor import Actor, acting
from opssight.kernel.errors import Refusal
from opssight.kernel.ids import new_uid
from opssight.kernel.jobs import LeaseLost
from scanning import events, findings, retired, targets
from scanning.models import Asset, Scan, ScanState
from scanning.scanners import (  # noqa: F401  (registers the tools)
    bandit,
    base,
    checkov,
    detect_secrets,
    gitleaks,
    pip_audit,
    safety,
    semgrep,
    toolbox,
    trivy,
    trivy_image,
)
from scanning.scanners.log import added, below
from scanning.scanners.run import HEARTBEAT, ToolFailed, ToolTimedOut, run
from scanning.sources.base import BadTarget
from scanning.sources.checkout import checkout

log = logging.getLogger("opssight.scanning")
SCANNER = Actor(kind="system", label="Scanner")
TOLD_ERRORS = 20
UNEXPECTED = "The scan stopped on an error of OpsSight itself. Nothing was closed; the worker's log has the details."


class UnknownScanner(Refusal):
    status = 400


class NothingInUse(Refusal):
    status = 409


class Inactive(Refusal):
    status = 409


def fitting(asset: Asset) -> list[str]:
    """Every tool that can run here and finds something to read in the asset.

    The default one where there is none: its run says why nothing is known.
    """
    ready = []
    for scanner in base.tools_for(asset.kind).values():
        with suppress(toolbox.NotInstalled, base.NotReady):
            scanner.check()
            ready.append(scanner)
    tools = [scanner.name for scanner in targets.fitting(asset, ready)]
    return tools or [next(iter(base.tools_for(asset.kind)))]


def request_scans(
    asset: Asset, *, scanners: list[str] | None = None, trigger: str = Scan.Trigger.MANUAL, by: Any = None,
    dispatch: bool = True,
) -> list[Scan]:  # fmt: skip
    """Queue one scan per tool: those named, or every one that fits and is not retired there. Each ends as it will; none
    waits for another. NothingInUse where none is left."""
    if by is not None:  # before the asset is looked at
        check(by, "scans:create", Scan(asset=asset), about=asset)
    names, batch = scanners or retired.without(asset, fitting(asset)), new_uid()
    if not names:
        raise NothingInUse(f"Every tool that fits {asset} is marked as not used there. Name the tool to scan with.")
    with transaction.atomic():
        return [
            request_scan(asset, scanner=name, trigger=trigger, by=by, dispatch=dispatch, batch=batch) for name in names
        ]


@transaction.atomic
def request_scan(
    asset: Asset,
    *,
    scanner: str = toolbox.DEFAULT,
    trigger: str = Scan.Trigger.MANUAL,
    by: Any = None,
    dispatch: bool = True,
    batch: UUID | None = None,
) -> Scan:
    """Queue a scan; one that already waits or runs for the same asset and scanner is returned instead. A retired tool
    is in use again.

    A refusal where `by` may not scan in the asset's unit. Without `dispatch` no worker is told: the caller runs it.
    """
    if by is not None:
        check(by, "scans:create", Scan(asset=asset), about=asset)
    tools = base.tools_for(asset.kind)
    if scanner not in tools:
        raise UnknownScanner(
            f"{scanner} is not a scanner for this kind of asset, {asset.get_kind_display().lower()}. "
            f"There are: {', '.join(tools)}."
        )
    if not asset.is_active:
        raise Inactive(f"{asset} is not active, so it is not scanned. Set it active first.")
    retired.give_back(asset, scanner)
    waiting = Scan.objects.unfinished().filter(asset=asset, scanner=scanner).first()
    if waiting:
        return waiting
    scan = Scan.objects.create(asset=asset, scanner=scanner, trigger=trigger, requested_by=by, batch=batch)
    events.SCAN_REQUESTED.emit(target=scan, scanner=scanner, asset=asset.name)
    if dispatch:
        scan.dispatch()
    return scan


def run_scan(scan_id: int) -> None:
    """Claim the scan and bring it to an end. Safe to call twice: a claimed or finished scan is left alone."""
    scan = Scan.claim(scan_id)
    if scan is None:
        return
    with acting(SCANNER):
        try:
            _run(scan)
        except LeaseLost:
            log.warning("scan %s was taken over by another worker", scan.pk)
        except Exception:
            log.exception("scan %s", scan.pk)
            fail_scan(scan, UNEXPECTED)


def _run(scan: Scan) -> None:
    deadline = time.monotonic() + settings.SCAN_TIMEOUT.total_seconds()
    try:
        scanner = base.tools_for(scan.asset.kind)[scan.scanner]
        scanner.check()
        scanner.prepare(scan.hold)
        with checkout(scan.asset, deadline=deadline, alive=_pulse(scan)) as place:
            errors = _read(scan, scanner, place, deadline)
    except toolbox.NotInstalled as error:
        fail_scan(scan, str(error), state=ScanState.NOT_INSTALLED)
    except ToolTimedOut:
        minutes = settings.SCAN_TIMEOUT.total_seconds() // 60
        fail_scan(scan, f"Stopped after {minutes:.0f} minutes. Nothing was closed.", state=ScanState.TIMED_OUT)
    except targets.NothingToRead as error:
        if scan.asset.kind in (
            Asset.Kind.FOLDER,
            Asset.Kind.INSTALLATION,
        ):  # known before: somebody asked for this tool
            fail_scan(scan, str(error))
        else:
            _end(scan, {"state": ScanState.DOES_NOT_FIT, "reason": str(error)})
    except (BadTarget, base.NotReady, ToolFailed, base.BadReport) as error:
        fail_scan(scan, findings.storable(str(error)))
    else:
        _finish(scan, errors)


def _pulse(scan: Scan) -> Callable[[], None]:
    """Renews the lease, however often it is called, no more than every few seconds."""
    last = time.monotonic()

    def alive() -> None:
        nonlocal last
        if time.monotonic() - last >= HEARTBEAT:
            last = time.monotonic()
            scan.hold()

    return alive


def _read(scan: Scan, scanner: base.Scanner, place: targets.Place, deadline: float) -> list[str]:
    """Have the tool read everything, and record what it finds; what could not be read, with the reasons."""
    survey = targets.survey(place, scanner)
    if place.pull:
        scanner = scanner.pulling(place.pull)
    with transaction.atomic():
        scan.hold(
            scanner_version=toolbox.version(scanner.name), revision=place.revision, parts_total=len(survey.parts),
            parts_done=0, part="", new=0, same=0, reopened=0, fixed=0, files_read=0,
        )  # fmt: skip
        events.SCAN_STARTED.emit(target=scan, scanner=scan.scanner, parts=len(survey.parts), revision=place.revision)
    errors, broken = survey.unreadable, 0
    for part in survey.parts:
        begun = added(scan.log, f"{part.name}: {len(part.files)} file{'s' * (len(part.files) != 1)}")
        scan.hold(part=part.name, log=begun)
        try:
            report = run(
                scanner, part.root, part.files, deadline=deadline, alive=lambda: scan.hold(log=scan.log),
                heard=partial(_hear, scan, begun),
            )  # fmt: skip
        except (ToolFailed, base.BadReport) as error:
            broken += 1  # one part that a tool can't read says nothing of the others
            if broken == len(survey.parts):
                raise
            errors.append(f"{part.name}: {error}")
            continue
        errors += [f"{name}: {reason}" for name, reason in report.errors.items()]
        errors += [f"{name}: not read" for name in set(part.files) - report.files - report.errors.keys()]
        _record_part(scan, report)
    return errors


def _hear(scan: Scan, before: str, said: str) -> None:
    scan.log = below(before, said)


def _record_part(scan: Scan, report: base.Report) -> None:
    with transaction.atomic():
        tally = findings.record(scan, report.findings)
        scan.hold(
            log=scan.log,
            revision=scan.revision or report.revision,
            parts_done=scan.parts_done + 1,
            files_read=scan.files_read + len(report.files),
            new=scan.new + tally.new,
            same=scan.same + tally.same,
            reopened=scan.reopened + tally.reopened,
        )


def _finish(scan: Scan, errors: list[str]) -> None:
    """A run with errors says nothing of what it could not read, so it closes nothing."""
    ending: dict[str, Any] = {"state": ScanState.COMPLETED}
    if errors:
        more = f"\n… and {len(errors) - TOLD_ERRORS} more" if len(errors) > TOLD_ERRORS else ""
        reason = findings.storable("\n".join(errors[:TOLD_ERRORS]) + more)
        ending = {"state": ScanState.COMPLETED_WITH_ERRORS, "reason": reason}
    else:
        scan.hold()
        ending["fixed"] = len(findings.close_missing(scan))
    _end(scan, ending)


def _end(scan: Scan, ending: dict[str, Any]) -> None:
    with transaction.atomic():  # a worker that dies between the two leaves both to the next attempt
        scan.finish(**ending, part="", log=added(scan.log, f"{scan.scanner} ended, {scan.total} findings"))
        events.SCAN_FINISHED.emit(
            target=scan, state=scan.state, new=scan.new, same=scan.same, fixed=scan.fixed, reopened=scan.reopened
        )


def fail_scan(scan: Scan, reason: str, *, state: str = ScanState.FAILED) -> None:
    """End a run that says nothing about the asset: findings stay as they are."""
    with transaction.atomic():
        scan.finish(state, reason=reason, part="", log=added(scan.log, f"{scan.scanner} did not finish"))
        events.SCAN_FAILED.emit(target=scan, success=False, error=reason, state=state)
