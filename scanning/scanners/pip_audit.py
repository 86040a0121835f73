"""pip-audit: pinned requirements against a mirror of OSV's records, or an OSV service. Exit 1 means vulnerabilities and
also any error: they differ in the report, which an error leaves out. A service learns the name of each package, so a
setting must say whom to ask."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from django.conf import settings

from scanning.scanners import osv, osv_server
from scanning.scanners.base import ONE_BY_ONE, NotReady, Scanner, register
from scanning.scanners.names import is_requirements


@register
class PipAudit(Scanner):
    name = "pip-audit"
    reads = "requirements*.txt"
    pace = ONE_BY_ONE  # one line that is not pinned is an error of the whole run
    ok_codes = frozenset({0, 1})

    @property
    def network(self) -> bool:
        return not settings.OSV_DIR

    @property
    def loopback(self) -> bool:
        return bool(settings.OSV_DIR)

    def check(self) -> None:
        super().check()
        if settings.OSV_DIR:
            osv.check()
        elif not settings.OSV_URL:
            raise NotReady(
                "pip-audit has nobody to ask: set OPSSIGHT_OSV_DIR to a folder with PyPI/all.zip of OSV's records, or "
                "OPSSIGHT_OSV_URL to the query address of a service such as https://api.osv.dev/v1/query, which then "
                "learns which packages you use."
            )

    def prepare(self, alive: Callable[[], None]) -> None:
        if settings.OSV_DIR:
            osv.prepare(alive)

    def data_at(self) -> datetime | None:
        return osv.data_at() if settings.OSV_DIR else None

    def fits(self, name: str) -> bool:
        return is_requirements(name)

    def command(self, files: list[str], report: Path) -> list[str]:
        beside = []
        if settings.OSV_DIR:
            beside = [str(Path(self.program).with_name("python")), osv_server.__file__, str(osv.index())]
        address = osv_server.ADDRESS if settings.OSV_DIR else settings.OSV_URL
        return [
            *beside, self.program, *(f"--requirement=./{name}" for name in files), "--no-deps", "--disable-pip",
            "--format=json", f"--output={report}", "--progress-spinner=off", "--vulnerability-service=osv",
            f"--osv-url={address}",
        ]  # fmt: skip
