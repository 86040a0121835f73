"""Trivy on a folder: misconfigurations and secrets; known vulnerabilities too where the operator keeps its database,
which is never downloaded here. Exits 0 with findings, 1 where it failed. A report without `Results` is a clean one."""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings

from scanning.scanners.base import WHOLE, NotReady, Scanner, register
from scanning.scanners.names import base, is_text

SECRETS = Path(__file__).with_name("trivy-secret.yaml")
OWN = (".trivyignore", ".trivyignore.yaml", "trivy.yaml", "trivy-secret.yaml")  # as with gitleaks


@register
class Trivy(Scanner):
    name = "trivy"
    reads = "text"
    pace = WHOLE
    staged = True

    def check(self) -> None:
        super().check()
        if settings.TRIVY_CACHE and not Path(settings.TRIVY_CACHE, "db", "metadata.json").is_file():
            raise NotReady(f"OPSSIGHT_TRIVY_CACHE names {settings.TRIVY_CACHE}, which holds no db/metadata.json.")

    def data_at(self) -> datetime | None:
        try:
            told = json.loads(Path(settings.TRIVY_CACHE, "db", "metadata.json").read_bytes())["UpdatedAt"]
            return datetime.fromisoformat(re.sub(r"\.\d+", "", told))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def fits(self, name: str) -> bool:
        return is_text(name) and base(name) not in OWN

    def command(self, files: list[str], report: Path) -> list[str]:
        return [*self._call("fs", report), "--secret-config", str(SECRETS), "."]

    def _call(self, kind: str, report: Path) -> list[str]:
        """What every call begins with. Trivy's own time-out, which is five minutes, is not to come before ours."""
        timeout = settings.SCAN_TIMEOUT + timedelta(minutes=1)
        known = ["--cache-dir", settings.TRIVY_CACHE, "--skip-db-update", "--skip-java-db-update"]
        sought = "vuln,misconfig,secret" if settings.TRIVY_CACHE else "misconfig,secret"
        return [
            self.program, kind, "--format", "json", "--quiet", "--output", str(report), "--offline-scan",
            "--skip-check-update", "--timeout", f"{timeout.total_seconds():.0f}s", "--scanners", sought,
            *(known if settings.TRIVY_CACHE else []),
        ]  # fmt: skip
