"""How each tool stands on this machine, and installing one: asked for by a person, done by a worker."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.utils import timezone

from opssight.kernel.access import check
from opssight.kernel.actor import Actor, acting
from opssight.kernel.errors import Refusal
from opssight.kernel.jobs import JobQuerySet, LeaseLost, State
from scanning.models import Scan
from scanning.scanners import toolbox, vendors
from scanning.scanners.base import NotReady, Scanner, registry
from scanning.tools import events
from scanning.tools.models import Installation

log = logging.getLogger("opssight.scanning")
INSTALLER = Actor(kind="system", label="Toolbox")
OLD = timedelta(days=7)  # advisories older than this miss too much to be called fresh
UNEXPECTED = "The installation stopped on an error of OpsSight itself; the worker's log has the details."


class NotPossible(Refusal):
    """It is there already, or OpsSight does not know where to get it."""

    status = 409


@dataclass(frozen=True)
class Tool:
    """How a tool stands on this machine. `version` is the one found, "" where none is or it does not say."""

    name: str
    reads: str
    network: bool
    pinned: str
    version: str
    source: Literal["", "own", "path"]
    state: Literal["ready", "not_ready", "not_installed"]
    reason: str  # why it is not ready, and what to do; "" where it is
    data_at: datetime | None  # how old what it knows is, where it reads that from a file
    installation: Installation | None  # the newest
    last_scan: Scan | None  # the newest that ended, of those in sight
    obstacle: str  # why OpsSight can't install it, "" where it can

    @property
    def is_own(self) -> bool:
        return self.source == "own"

    @property
    def last_scan_uid(self) -> UUID | None:
        return self.last_scan.uid if self.last_scan else None

    @property
    def is_installing(self) -> bool:
        return self.installation is not None and not self.installation.is_finished

    @property
    def failed(self) -> Installation | None:
        """The newest installation, where it failed and nothing has been installed since."""
        newest = self.installation
        return newest if newest and newest.state == State.FAILED and not self.is_own else None

    @property
    def is_data_old(self) -> bool:
        return self.data_at is not None and self.data_at < timezone.now() - OLD


def tools(user: Any) -> list[Tool]:
    """Every tool, in the order they were registered, with the scans that `user` may see."""
    newest = Installation.objects.permitted(user, "scanners:read").order_by().values("tool").annotate(n=Max("pk"))
    installations = {row.tool: row for row in Installation.objects.filter(pk__in=[row["n"] for row in newest])}
    last = Scan.objects.permitted(user, "scans:read").finished().order_by().values("scanner").annotate(n=Max("pk"))
    scans = {scan.scanner: scan for scan in Scan.objects.filter(pk__in=[row["n"] for row in last])}
    return [_look(scanner, installations.get(name), scans.get(name)) for name, scanner in registry.items()]


def tool(name: str, user: Any) -> Tool | None:
    return next((one for one in tools(user) if one.name == name), None)


def _look(scanner: Scanner, installation: Installation | None, last: Scan | None) -> Tool:
    name = scanner.name
    version, source, state, reason = "", "", "ready", ""
    try:
        version = toolbox.version(name)
        source = "own" if toolbox.is_own(toolbox.program(name)) else "path"
        scanner.check()
    except toolbox.NotInstalled as error:
        state, reason = "not_installed", str(error)
    except NotReady as error:
        state, reason = "not_ready", str(error)
    return Tool(
        name=name,
        reads=scanner.reads,
        network=scanner.network,
        pinned=toolbox.pinned(name),
        version=version,
        source=source,  # type: ignore[arg-type]  # one of the three, which mypy takes for any text
        state=state,  # type: ignore[arg-type]  # the same
        reason=reason,
        data_at=scanner.data_at(),
        installation=installation,
        last_scan=last,
        obstacle=obstacle(name),
    )


def obstacle(name: str) -> str:
    try:
        if name in toolbox.ON_PATH:
            vendors.check(name)
    except vendors.NotToBeHad as error:
        return str(error)
    return ""


# --- installing -----------------------------------------------------------------------------------------------------


def request_installation(name: str, *, by: Any) -> Installation:
    """Queue the installation of a tool; one that is under way is returned instead.

    NotPossible where it is there in the pinned version, or can't be had.
    """
    check(by, "scanners:install")
    if under_way := _under_way(name):
        return under_way
    if toolbox.is_installed(name):
        raise NotPossible(f"{name} {toolbox.pinned(name)} is installed already.")
    if why := obstacle(name):
        raise NotPossible(why)
    try:
        with transaction.atomic():
            asked = Installation.objects.create(tool=name, version=toolbox.pinned(name), requested_by=by)
            events.INSTALL_REQUESTED.emit(target=asked, tool=name, version=asked.version)
            asked.dispatch()
            return asked
    except IntegrityError:  # somebody else was quicker
        if under_way := _under_way(name):
            return under_way
        raise


def _under_way(name: str) -> Installation | None:
    return JobQuerySet(Installation).unfinished().filter(tool=name).first()


def run_installation(installation_id: int) -> None:
    """Claim the job and bring it to an end; a claimed or finished one is left alone."""
    job = Installation.claim(installation_id)
    if job is None:
        return
    with acting(INSTALLER):
        try:
            toolbox.install(job.tool, say=lambda step: job.hold(step=step[:200]), alive=job.hold)
            with transaction.atomic():
                job.finish(State.COMPLETED, step="")
                events.INSTALLED.emit(target=job, tool=job.tool, version=job.version)
        except LeaseLost:
            log.warning("installation %s was taken over by another worker", job.pk)
        except (toolbox.InstallFailed, toolbox.NotInstalled) as error:
            fail(job, str(error))
        except OSError as error:
            fail(job, f"{error.strerror or error}: {error.filename or job.tool}")
        except Exception:
            log.exception("installation %s", job.pk)
            fail(job, UNEXPECTED)


def fail(job: Installation, reason: str) -> None:
    with transaction.atomic():
        job.finish(State.FAILED, step="", reason=reason)
        events.INSTALL_FAILED.emit(target=job, success=False, tool=job.tool, version=job.version, error=reason)
