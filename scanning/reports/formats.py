"""Which formats there are, and which one a report is in."""

from typing import BinaryIO

from scanning.reports.base import Run, UnreadableReport

FORMATS: tuple[str, ...] = (
    "bandit",
    "checkov",
    "cyclonedx",
    "detect_secrets",
    "generic",
    "gitleaks",
    "osv_scanner",
    "pip_audit",
    "safety",
    "sarif",
    "semgrep",
    "trivy",
)


def read(stream: BinaryIO, format: str = "", root: str = "") -> list[Run]:
    """The runs in a report, plain or gzipped. Without `format`, its content says what it is.

    `root` is the folder that absolute paths in it start from, where the caller knows. UnreadableReport says why not.
    """
    raise UnreadableReport(f"{format or 'This format'} can't be read yet.")
