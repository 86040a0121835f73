from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar


@dataclass(frozen=True)
class RawFinding:
    """What a report says of one weakness. `flagged` is the code that was flagged, `code` the excerpt around it."""

    rule: str
    title: str
    description: str
    severity: int
    path: str
    line: int
    code: str = ""
    flagged: str = ""
    confidence: str = ""
    cwe: int | None = None
    help_url: str = ""


@dataclass(frozen=True)
class Report:
    """A report that was read whole: findings, the files it vouches for, and those the tool could not read."""

    findings: list[RawFinding]
    files: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)


class BadReport(Exception):
    """The tool left no report, or one that is not what it promises. Never to be taken for "no findings"."""


class Scanner(Protocol):
    name: str
    suffixes: tuple[str, ...]  # the files it reads; a target without any is an error, not clean
    ok_codes: frozenset[int]  # exit codes of a run that did its work, with or without findings

    def command(self, files: list[str], report: Path) -> list[str]: ...
    def read(self, report: bytes) -> Report: ...


registry: dict[str, Scanner] = {}
S = TypeVar("S", bound=type[Scanner])


def register(scanner: S) -> S:
    if scanner.name in registry:
        raise ValueError(f"scanner {scanner.name} is registered twice")
    registry[scanner.name] = scanner()
    return scanner
