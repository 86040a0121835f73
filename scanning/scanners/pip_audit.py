"""pip-audit: pinned requirements against an OSV service. Exit 1 means vulnerabilities and also any error: they
differ in the report, which an error leaves out. It asks about each package by name, so a setting must say whom."""

from pathlib import Path

from django.conf import settings

from scanning.scanners.base import ONE_BY_ONE, NotReady, Scanner, register
from scanning.scanners.names import is_requirements


@register
class PipAudit(Scanner):
    name = "pip-audit"
    reads = "requirements*.txt"
    pace = ONE_BY_ONE  # one line that is not pinned is an error of the whole run
    ok_codes = frozenset({0, 1})
    network = True

    def check(self) -> None:
        super().check()
        if not settings.OSV_URL:
            raise NotReady(
                "pip-audit has nobody to ask: set OPSSIGHT_OSV_URL to the query address of an OSV mirror, or to "
                "https://api.osv.dev/v1/query, which then learns which packages you use."
            )

    def fits(self, name: str) -> bool:
        return is_requirements(name)

    def command(self, files: list[str], report: Path) -> list[str]:
        return [
            self.program, *(f"--requirement=./{name}" for name in files), "--no-deps", "--disable-pip",
            "--format=json", f"--output={report}", "--progress-spinner=off", "--vulnerability-service=osv",
            f"--osv-url={settings.OSV_URL}",
        ]  # fmt: skip
