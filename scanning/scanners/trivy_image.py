"""Trivy on a container image that lies in a file: its packages, what its files configure, and secrets in its layers. It
asks neither a registry nor a container engine."""

from pathlib import Path

from django.conf import settings

from scanning.scanners.base import ONE_BY_ONE, register_for_images
from scanning.scanners.trivy import Trivy


@register_for_images
class TrivyImage(Trivy):
    reads = "a container image"
    pace = ONE_BY_ONE
    staged = False

    def fits(self, name: str) -> bool:
        return True

    def command(self, files: list[str], report: Path) -> list[str]:
        known = ["--cache-dir", settings.TRIVY_CACHE, "--skip-db-update", "--skip-java-db-update"]
        sought = "vuln,misconfig,secret" if settings.TRIVY_CACHE else "misconfig,secret"
        return [
            self.program, "image", "--format", "json", "--quiet", "--output", str(report), "--offline-scan",
            "--skip-check-update", "--scanners", sought, *(known if settings.TRIVY_CACHE else []), "--input", files[0],
        ]  # fmt: skip
