"""A finding a row, under the names of the API."""

from collections.abc import Iterator

from opssight.kernel.spreadsheets import line
from scanning.detail import RATED
from scanning.exports.chosen import Chosen

COLUMNS = (
    "label", "uid", "asset_uid", "asset_name", "scanner", "rule", "title", "severity_word", "status", "path", "line",
    "end_line", "package", "package_version", "fix_version", "aliases", "cwe", "cvss", "cvss_vector", *RATED,
    "occurrences", "first_seen_at", "last_seen_at", "due_at", "fixed_at", "help_url",
)  # fmt: skip
NAMES = {"asset_uid": "asset", "severity_word": "severity"}


def write(chosen: Chosen) -> Iterator[str]:
    yield line(NAMES.get(name, name) for name in COLUMNS)
    for scanner in chosen.keys:
        for finding, _ in chosen.read(scanner):
            yield line(_value(getattr(finding, name)) for name in COLUMNS)


def _value(value: object) -> object:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return value.isoformat() if hasattr(value, "isoformat") else value
