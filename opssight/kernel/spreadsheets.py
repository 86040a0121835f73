"""Lines of CSV that a spreadsheet opens as what they are."""

import csv
import json
from collections.abc import Iterable
from io import StringIO
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would take for a formula (OWASP, CSV injection)


def line(cells: Iterable[Any]) -> str:
    """One line with its end. Lists and objects as JSON; a text that reads as a formula behind an apostrophe."""
    buffer = StringIO()
    csv.writer(buffer).writerow(map(_cell, cells))
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False) if value else ""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
