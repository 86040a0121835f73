"""Assets and scans: asking for a scan, running it, ending it."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from opssight.kernel.access import check, decide
from opssight.kernel.actor import Actor, acting
from opssight.kernel.errors import Refusal
from opssight.kernel.ids import new_uid
from opssight.kernel.jobs import LeaseLost
from rbac.models import Unit
from rbac.services import root_unit
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
from scanning.sources import archives, images, uploads
from scanning.sources.base import BadTarget
from scanning.sources.checkout import check_asset, checkout

log = logging.getLogger("opssight.scanning")
SCANNER = Actor(kind="system", label="Scanner")
TOLD_ERRORS = 20
UNEXPECTED = "The scan stopped on an error of OpsSight itself. Nothing was closed; the worker's log has the details."


class UnknownScanner(Refusal):
    status = 400


class NothingInUse(Refusal):
    status = 409


def asset_at(target: str | Path, *, unit: Unit | None = None) -> Asset:
    """The asset of a folder, of a file (an archive or container image), of a repository's address or of an image's
    reference, made on first use. Its name is the last part of where it is, or all of that where the name is taken.
    UnknownPlace where it can't be."""
    unit = unit or root_unit()
    if "://" in str(target):
        kind, location = Asset.Kind.GIT, str(target)
    elif images.is_reference(str(target)) and not Path(target).exists():
        kind, location = Asset.Kind.IMAGE, str(target)
    else:
        location = str(Path(target).expanduser().resolve()).encode("utf-8", "replace").decode()
        kind = _kind_of(Path(location))
    found = Asset.objects.filter(unit=unit, kind=kind, location=location).first()
    if found:
        return found
    name = Path(location).name or location
    if Asset.objects.filter(unit=unit, name=name).exists():
        name = location[-200:]
    asset = Asset(unit=unit, kind=kind, location=location, name=name)
    _check(asset)
    asset.save()  # a folder's name is what it is, odd characters and all
    return asset


def folder_asset(path: str | Path, *, unit: Unit | None = None) -> Asset:
    return asset_at(path, unit=unit)


def _kind_of(path: Path) -> Asset.Kind:
    """A file that is no archive is taken for a folder, whose scan then says that it is none."""
    try:
        if not path.is_file() or not archives.is_archive(path):
            return Asset.Kind.FOLDER
        return Asset.Kind.IMAGE if archives.is_image(path) else Asset.Kind.ARCHIVE
    except (BadTarget, OSError):
        return Asset.Kind.ARCHIVE


def installation_asset() -> Asset:
    """OpsSight's own source and the packages it runs on."""
    return Asset.objects.get_or_create(
        unit=root_unit(), kind=Asset.Kind.INSTALLATION, location="", defaults={"name": "This OpsSight"}
    )[0]


class WrongField(Refusal):
    """Something about one `field` of an asset."""

    def __init__(self, detail: str, *, field: str = "location") -> None:
        super().__init__(detail)
        self.field = field


class AssetExists(WrongField):
    status = 409


class UnknownPlace(WrongField):
    status = 400


def units_for_new_assets(user: Any) -> QuerySet[Unit]:
    """Where `user` may create assets, of the units in sight."""
    visible = Unit.objects.permitted(user, "units:read")
    allowed = [unit.pk for unit in visible if decide(user, "assets:create", Asset(unit=unit)).allowed]
    return visible.filter(pk__in=allowed)


@transaction.atomic
def create_asset(*, secret: str = "", **values: Any) -> Asset:
    """Something to scan. AssetExists where name or location is taken in the unit; UnknownPlace where it can't be."""
    return save_asset(Asset(**values), secret=secret)


@transaction.atomic
def change_asset(asset: Asset, *, secret: str | None = None, **values: Any) -> Asset:
    """`secret` replaces the one that is kept; "" takes it away."""
    if values.get("kind", asset.kind) != asset.kind:
        raise UnknownPlace("kind can't be changed: findings are about what it was. Make another asset.", field="kind")
    for name, value in values.items():
        setattr(asset, name, value)
    return save_asset(asset, secret=secret)


def save_asset(asset: Asset, *, secret: str | None) -> Asset:
    """A secret belongs to one address: another address takes it away, unless it is given again."""
    before = Asset.objects.filter(pk=asset.pk).first() if asset.pk else None
    if secret:
        if "\n" in secret.strip() and not asset.location.startswith("ssh://"):
            raise UnknownPlace("A password or token is one line; only a private key for ssh has more.", field="secret")
        asset.secret = secret
    elif secret == "" or (before and (before.location, before.username) != (asset.location, asset.username)):
        asset.secret_encrypted = ""
    return _save_asset(asset)


def _save_asset(asset: Asset) -> Asset:
    _check(asset)
    others = Asset.objects.filter(unit=asset.unit).exclude(pk=asset.pk)
    if others.filter(name=asset.name).exists():
        raise AssetExists(f"There is an asset {asset.name} in {asset.unit} already.", field="name")
    if asset.location and others.filter(kind=asset.kind, location=asset.location).exists():
        raise AssetExists(f"{asset.location} is an asset of {asset.unit} already.")
    asset.full_clean()
    asset.save()
    return asset


def _check(asset: Asset) -> None:
    try:
        check_asset(asset)
    except BadTarget as error:
        raise UnknownPlace(str(error), field=error.field) from None


def upload(asset: Asset, file: BinaryIO, *, name: str, by: Any) -> Asset:
    """Keep a file as what the asset is from now on; the one before it goes. Unusable where it can't be scanned."""
    check(by, "assets:update", asset)
    if asset.kind not in Asset.FILES or asset.location:
        raise NotUploaded(f"{asset} is read from where it lies, so nothing can be uploaded for it.")
    try:
        token, digest = uploads.store(asset.uid, file)
        place = uploads.path_of(asset.uid, token)
        try:
            _check_upload(asset, place)
        except BaseException:
            place.unlink(missing_ok=True)
            raise
    except BadTarget as error:
        raise Unusable(str(error)) from None
    with transaction.atomic():
        asset = Asset.objects.select_for_update().get(pk=asset.pk)
        before, asset.upload = asset.upload, token
        asset.upload_name, asset.upload_digest = findings.storable(Path(name).name)[-200:], digest
        asset.uploaded_at = timezone.now()
        asset.save()
        events.ASSET_UPLOADED.emit(target=asset, name=asset.upload_name, digest=digest)
        transaction.on_commit(lambda: uploads.forget(asset.uid, before, but=token))
    return asset


def _check_upload(asset: Asset, place: Path) -> None:
    if not archives.is_archive(place):
        raise BadTarget("The file is no zip or tar.")
    if archives.is_image(place) != (asset.kind == Asset.Kind.IMAGE):
        wanted = "no container image as docker save makes it" if asset.kind == Asset.Kind.IMAGE else "a container image"
        raise BadTarget(f"The file is {wanted}.")


class Unusable(Refusal):
    status = 400


class NotUploaded(Refusal):
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
