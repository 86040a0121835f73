from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, ClassVar, TypeVar, cast

from scanning import reports
from scanning.reports import RawFinding
from scanning.reports.stream import unpack
from scanning.scanners import toolbox


@dataclass(frozen=True)
class Report:
    """A report that was read whole: findings, the files it vouches for, and those the tool could not read.
    `revision` is what it says of an image that the tool pulled."""

    findings: list[RawFinding]
    files: set[str] = field(default_factory=set)
    errors: dict[str, str] = field(default_factory=dict)
    revision: str = ""


class BadReport(Exception):
    """The tool left no report, or one that is not what it promises. Never to be taken for "no findings"."""


class NotReady(Exception):
    """The tool is there and lacks a setting, with the sentence that says which."""


@dataclass(frozen=True)
class Pull:
    """An image that a tool fetches by itself, and by what its registry knows us."""

    reference: str
    username: str = ""
    secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class Pace:
    """How much of a target one run of a tool reads: start-up costs, and so does waiting for the first results.

    A part is four times the one before, from `first` bytes up to `most`. `files` keeps the command line far below what
    a system allows.
    """

    first: int
    most: int
    files: int


QUICK = Pace(400_000, 6_400_000, 2_000)
SLOW_START = Pace(8_000_000, 64_000_000, 2_000)
WHOLE = Pace(256_000_000, 256_000_000, 50_000)
ONE_BY_ONE = Pace(1, 1, 1)


class Scanner:
    """One tool. An adapter says what it reads, how it is called and which exit codes mean that it did its work."""

    name: ClassVar[str]
    reads: ClassVar[str]  # the files it reads, in words; a target without any is an error, not clean
    pace: ClassVar[Pace] = QUICK
    ok_codes: ClassVar[frozenset[int]] = frozenset({0})
    prints: ClassVar[bool] = False  # its report is what it prints
    staged: ClassVar[bool] = False  # it takes a folder, so it gets one that holds its files and nothing else

    @property
    def environment(self) -> Mapping[str, str]:
        """What it finds in its environment beside what every tool does."""
        return {}

    @property
    def hidden(self) -> tuple[str, ...]:
        """What must not stand in its log, nor in a reason."""
        return ()

    @property
    def network(self) -> bool:
        """Whether it asks others, and so keeps the network."""
        return False

    @property
    def loopback(self) -> bool:
        """Whether it asks what runs beside it, and so needs this one address."""
        return False

    @property
    def program(self) -> str:
        return str(toolbox.program(self.name))

    def check(self) -> None:
        """toolbox.NotInstalled or NotReady where it can't run."""
        toolbox.program(self.name)

    def prepare(self, alive: Callable[[], None]) -> None:
        """Once before a scan, and it may take a while: `alive` is called. NotReady where that comes to nothing."""

    def data_at(self) -> datetime | None:
        """How old what it knows is, where it reads that from a file of the operator's."""
        return None

    def fits(self, name: str) -> bool:
        """Whether it reads the file of this name, relative to its root."""
        raise NotImplementedError

    def pulling(self, image: Pull) -> "Scanner":
        """The same tool, on an image that it fetches by itself."""
        raise NotImplementedError

    def trouble(self, said: str) -> str:
        """A sentence for what it said when it failed; "" where its own words have to do."""
        return ""

    def command(self, files: list[str], report: Path) -> list[str]:
        raise NotImplementedError

    def read(self, stream: BinaryIO, files: list[str], root: Path) -> Report:
        """What the report on `files` in `root` says. BadReport where it is none."""
        try:
            with unpack(stream) as unpacked:
                runs = reports.read(cast(BinaryIO, unpacked), self.name.replace("-", "_"), str(root))
        except reports.UnreadableReport as error:
            raise BadReport(f"{self.name}'s report can't be read: {error}") from error
        if not runs:
            raise BadReport(f"{self.name}'s report tells of no run.")
        report = Report([])
        for run in runs:
            if not run.complete:
                said = "; ".join(run.errors.values()) or "it does not say why"
                raise BadReport(f"{self.name} says that it did not do its work: {said}")
            report.findings.extend(finding for finding in run.findings if not finding.suppressed)
            report.errors.update({plain(name): reason for name, reason in run.errors.items()})
            # Where the tool does not tell what it read, nothing but its errors speaks against the list it was given.
            report.files.update(set(files) if run.files is None else map(plain, run.files))
        return Report(report.findings, report.files - report.errors.keys(), report.errors, runs[-1].revision)


def plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


registry: dict[str, Scanner] = {}  # tools that read files
images: dict[str, Scanner] = {}  # and container images
S = TypeVar("S", bound=type[Scanner])


def register(scanner: S) -> S:
    return _enter(scanner, registry)


def register_for_images(scanner: S) -> S:
    return _enter(scanner, images)


def _enter(scanner: S, tools: dict[str, Scanner]) -> S:
    if scanner.name in tools:
        raise ValueError(f"scanner {scanner.name} is registered twice")
    tools[scanner.name] = scanner()
    return scanner


def tools_for(kind: str) -> dict[str, Scanner]:
    """The tools that can read an asset of this kind, by name."""
    return images if kind == "image" else registry
