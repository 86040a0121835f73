"""Assets and scans: asking for a scan, running it, ending it."""

import logging
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from opssight.kernel.access import check, decide
from opssight.kernel.actor import Actor, acting
from opssight.kernel.errors import Refusal
from opssight.kernel.ids import new_uid
from opssight.kernel.jobs import LeaseLost
from rbac.models import Unit
from rbac.services import root_unit
from scanning import events, findings, targets
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
)
from scanning.scanners.log import added, below
from scanning.scanners.run import ToolFailed, ToolTimedOut, run

log = logging.getLogger("opssight.scanning")
SCANNER = Actor(kind="system", label="Scanner")
TOLD_ERRORS = 20
UNEXPECTED = "The scan stopped on an error of OpsSight itself. Nothing was closed; the worker's log has the details."


class UnknownScanner(Refusal):
    status = 400


def folder_asset(path: str | Path, *, unit: Unit | None = None) -> Asset:
    """The asset of a folder, made on first use. Its name is the folder's, or the whole path where that is taken."""
    location = str(Path(path).expanduser().resolve()).encode("utf-8", "replace").decode()
    unit = unit or root_unit()
    found = Asset.objects.filter(unit=unit, kind=Asset.Kind.FOLDER, location=location).first()
    if found:
        return found
    name = Path(location).name or location
    if Asset.objects.filter(unit=unit, name=name).exists():
        name = location[-200:]
    return Asset.objects.create(unit=unit, kind=Asset.Kind.FOLDER, location=location, name=name)


def installation_asset() -> Asset:
    """OpsSight's own source and the packages it runs on."""
    return Asset.objects.get_or_create(
        unit=root_unit(), kind=Asset.Kind.INSTALLATION, location="", defaults={"name": "This OpsSight"}
    )[0]


class AssetExists(Refusal):
    status = 409


def units_for_new_assets(user: Any) -> QuerySet[Unit]:
    """Where `user` may create assets, of the units in sight."""
    visible = Unit.objects.permitted(user, "units:read")
    allowed = [unit.pk for unit in visible if decide(user, "assets:create", Asset(unit=unit)).allowed]
    return visible.filter(pk__in=allowed)


@transaction.atomic
def create_asset(*, name: str, location: str, unit: Unit) -> Asset:
    """A folder to scan. AssetExists where name or location is taken in the unit."""
    return _save_asset(Asset(unit=unit, kind=Asset.Kind.FOLDER, name=name, location=location))


@transaction.atomic
def change_asset(asset: Asset, **values: Any) -> Asset:
    for name, value in values.items():
        setattr(asset, name, value)
    return _save_asset(asset)


def _save_asset(asset: Asset) -> Asset:
    if asset.kind == Asset.Kind.FOLDER and not Path(asset.location).is_absolute():
        raise UnknownPlace("location must be an absolute path on the server, such as /srv/code/shop.")
    others = Asset.objects.filter(unit=asset.unit).exclude(pk=asset.pk)
    if others.filter(name=asset.name).exists():
        raise AssetExists(f"There is an asset {asset.name} in {asset.unit} already.")
    if others.filter(kind=asset.kind, location=asset.location).exists():
        raise AssetExists(f"{asset.location} is an asset of {asset.unit} already.")
    asset.full_clean()
    asset.save()
    return asset


class UnknownPlace(Refusal):
    status = 400


def fitting(asset: Asset) -> list[str]:
    """Every tool that can run here and finds something to read in the asset.

    The default one where there is none: its run says why nothing is known.
    """
    ready = []
    for scanner in base.registry.values():
        with suppress(toolbox.NotInstalled, base.NotReady):
            scanner.check()
            ready.append(scanner)
    return [scanner.name for scanner in targets.fitting(asset, ready)] or [toolbox.DEFAULT]


def request_scans(
    asset: Asset, *, scanners: list[str] | None = None, trigger: str = Scan.Trigger.MANUAL, by: Any = None,
    dispatch: bool = True,
) -> list[Scan]:  # fmt: skip
    """Queue one scan per tool: those named, or every one that fits. Each ends as it will; none waits for another."""
    if by is not None:  # before the asset is looked at
        check(by, "scans:create", Scan(asset=asset), about=asset)
    names, batch = scanners or fitting(asset), new_uid()
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
    """Queue a scan; one that already waits or runs for the same asset and scanner is returned instead.

    A refusal where `by` may not scan in the asset's unit. Without `dispatch` no worker is told: the caller runs it.
    """
    if by is not None:
        check(by, "scans:create", Scan(asset=asset), about=asset)
    if scanner not in base.registry:
        raise UnknownScanner(f"{scanner} is not a scanner. There are: {', '.join(base.registry)}.")
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
    scanner = base.registry[scan.scanner]
    deadline = time.monotonic() + settings.SCAN_TIMEOUT.total_seconds()
    try:
        scanner.check()
        survey = targets.survey(scan.asset, scanner)
        with transaction.atomic():
            scan.hold(
                scanner_version=toolbox.version(scanner.name), parts_total=len(survey.parts), parts_done=0, part="",
                new=0, same=0, reopened=0, fixed=0, files_read=0,
            )  # fmt: skip
            events.SCAN_STARTED.emit(target=scan, scanner=scan.scanner, parts=len(survey.parts))
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
    except toolbox.NotInstalled as error:
        fail_scan(scan, str(error), state=ScanState.NOT_INSTALLED)
    except ToolTimedOut:
        minutes = settings.SCAN_TIMEOUT.total_seconds() // 60
        fail_scan(scan, f"Stopped after {minutes:.0f} minutes. Nothing was closed.", state=ScanState.TIMED_OUT)
    except (targets.BadTarget, base.NotReady, ToolFailed, base.BadReport) as error:
        fail_scan(scan, str(error))
    else:
        _finish(scan, errors)


def _hear(scan: Scan, before: str, said: str) -> None:
    scan.log = below(before, said)


def _record_part(scan: Scan, report: base.Report) -> None:
    with transaction.atomic():
        tally = findings.record(scan, report.findings)
        scan.hold(
            log=scan.log,
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
