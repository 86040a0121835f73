"""FIRST's EPSS scores (CSV) and CISA's list of known exploited vulnerabilities (JSON), as rows.

A file that is not whole, or not what it should be, is a BadFeed that names file and line: half a list would call what
it lacks "not exploited".
"""

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TextIO

from scanning.advisories.models import EpssScore, KnownExploited
from scanning.detail import CVE

MAX_BYTES = 200_000_000  # unpacked; EPSS has some 10 MB, KEV 2 MB
COLUMNS = ["cve", "epss", "percentile"]
MADE = re.compile(r"score_date:([0-9T:.+Z-]+)")


class BadFeed(Exception):
    """The message names the file and the line or field, and says what is wrong with it."""


def epss(path: Path) -> Iterator[datetime | EpssScore]:
    """The scores, one by one; before them when they were made, where the file says so."""
    line = 0
    try:
        with _opened(path) as file:
            numbered = enumerate(_whole_lines(file, path), 1)
            line, first = next(numbered, (1, ""))
            if first.startswith("#"):
                if (made := MADE.search(first)) and (moment := _moment(made[1])):
                    yield moment
                line, first = next(numbered, (2, ""))
            if first.strip().split(",") != COLUMNS:
                raise BadFeed(f"{path}, line {line}: cve,epss,percentile was expected. Is it FIRST's EPSS file?")
            for line, text in numbered:
                yield _score(next(csv.reader([text]), []), path, line)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise BadFeed(f"{path}, behind line {line}: it can't be read ({_why(error)}). Is it copied whole?") from None


def _opened(path: Path) -> TextIO:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8")


def _whole_lines(file: TextIO, path: Path) -> Iterator[str]:
    taken = 0
    for number, text in enumerate(iter(lambda: file.readline(1_000), ""), 1):
        taken += len(text)
        if taken > MAX_BYTES:
            raise BadFeed(f"{path}, line {number}: it is larger than {MAX_BYTES:,} bytes.")
        if not text.endswith("\n"):
            raise BadFeed(f"{path}, line {number}: it ends, or has no end, within this line. Is it copied whole?")
        yield text


def _score(cells: list[str], path: Path, line: int) -> EpssScore:
    try:
        cve, *numbers = cells
        chance, percentile = map(float, numbers)
    except ValueError:
        raise BadFeed(f"{path}, line {line}: a CVE and two numbers were expected.") from None
    if not CVE.fullmatch(cve):
        raise BadFeed(f"{path}, line {line}: {cve[:40]!r} is no CVE.")
    if not (0 <= chance <= 1 and 0 <= percentile <= 1):  # also where one is not a number
        raise BadFeed(f"{path}, line {line}: {cve} has a score that is not from 0 to 1.")
    return EpssScore(cve, chance, percentile)


def kev(path: Path) -> Iterator[datetime | KnownExploited]:
    """The exploited ones, one by one; before them when the list was released."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise BadFeed(f"{path}: it is larger than {MAX_BYTES:,} bytes.")
        told = json.loads(content)
    except json.JSONDecodeError as error:
        raise BadFeed(f"{path}, line {error.lineno}: {error.msg}. Is it copied whole?") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise BadFeed(f"{path}: it can't be read ({_why(error)}).") from None
    rows = told.get("vulnerabilities") if isinstance(told, dict) else None
    if not isinstance(rows, list):
        raise BadFeed(f"{path}: vulnerabilities is no list. Is it CISA's known_exploited_vulnerabilities.json?")
    if told.get("count", len(rows)) != len(rows):
        raise BadFeed(f"{path}: count is {told['count']}, and {len(rows)} are listed. Is it whole?")
    if moment := _moment(told.get("dateReleased")):
        yield moment
    for number, row in enumerate(rows):
        yield _exploited(row, f"{path}, vulnerabilities[{number}]")


def _exploited(row: Any, place: str) -> KnownExploited:
    if not isinstance(row, dict):
        raise BadFeed(f"{place} is no object.")
    cve = row.get("cveID")
    if not isinstance(cve, str) or not CVE.fullmatch(cve):
        raise BadFeed(f"{place}.cveID is no CVE.")
    added = _day(row, "dateAdded", place)
    if added is None:
        raise BadFeed(f"{place}.dateAdded is missing.")
    ransomware = True if row.get("knownRansomwareCampaignUse") == "Known" else None
    return KnownExploited(cve, added, _day(row, "dueDate", place), ransomware)


def _day(row: dict[str, Any], key: str, place: str) -> date | None:
    value = row.get(key)
    try:
        return date.fromisoformat(value) if value else None
    except (TypeError, ValueError):
        raise BadFeed(f"{place}.{key} is no date such as 2026-11-24.") from None


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
