"""detect-secrets: secrets in any text. Always exits 0, also where a file is not there, and does not say what it
read; files are listed and opened here before. `--no-verify`: no secret is sent to its provider to try it."""

from pathlib import Path

from scanning.scanners.base import SLOW_START, Scanner, register
from scanning.scanners.names import is_text


@register
class DetectSecrets(Scanner):
    name = "detect-secrets"
    reads = "text"
    pace = SLOW_START
    prints = True

    def fits(self, name: str) -> bool:
        return is_text(name)

    def command(self, files: list[str], report: Path) -> list[str]:
        return [self.program, "scan", "--all-files", "--no-verify", *(f"./{name}" for name in files)]
