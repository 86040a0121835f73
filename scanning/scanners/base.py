from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from scanning.reports.base import RawFinding


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
