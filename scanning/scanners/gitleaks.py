"""Gitleaks: secrets in any text. Exit 1 means leaks and also a fatal error, so leaks get a code of their own. `dir`, as
`git` says "no leaks" of what is no repository. Not redacted, so that two secrets of a file are told apart: the report
lies beside the copy of the files until it is read, and no row holds more than a keyed hash."""

from pathlib import Path

from scanning.scanners.base import WHOLE, Scanner, register
from scanning.scanners.names import base, is_text

LEAKS = 7
OWN = (".gitleaks.toml", ".gitleaksignore")  # the target does not decide what is looked for in it


@register
class Gitleaks(Scanner):
    name = "gitleaks"
    reads = "text"
    pace = WHOLE
    staged = True
    ok_codes = frozenset({0, LEAKS})

    def fits(self, name: str) -> bool:
        return is_text(name) and base(name) not in OWN

    def command(self, files: list[str], report: Path) -> list[str]:
        return [
            self.program, "dir", ".", "--report-format", "json", "--report-path", str(report), "--no-banner",
            "--exit-code", str(LEAKS),
        ]  # fmt: skip
