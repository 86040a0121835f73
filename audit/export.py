"""What a search finds, as a file: CSV or JSON lines, an entry a row, under the names of the API."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.http import StreamingHttpResponse
from django.utils import timezone

from audit.events import TRAIL_EXPORTED
from audit.models import AuditEntry
from audit.search import Search
from audit.serializers import EntrySerializer
from opssight.kernel.spreadsheets import line

LIMIT = 100_000
BATCH = 500
COLUMNS = EntrySerializer.Meta.fields


def export(search: Search, form: str) -> StreamingHttpResponse:
    """The newest LIMIT of what `search` finds; its own entry, with what was asked and the count, is written first."""
    keys, complete = _keys(search)
    asked = search.asked.told()
    TRAIL_EXPORTED.emit(about=AuditEntry, action="READ", format=form, count=len(keys), complete=complete, **asked)
    write, content_type = FORMATS[form]
    name = f"trail-{timezone.now():%Y-%m-%dT%H%M%SZ}{'' if complete else f'-newest-{LIMIT}'}.{form}"
    response = StreamingHttpResponse(write(_rows(search, keys)), content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _keys(search: Search) -> tuple[list[int], bool]:
    """Of the entries to be written, which never change, and whether those are all."""
    found = Search(search.rows.select_related(None).only("timestamp"), search.asked)
    keys: list[int] = []
    for page in found.pages(limit=2_000):
        keys += [entry.pk for entry in page.rows]
        if len(keys) > LIMIT:
            return keys[:LIMIT], False
    return keys, True


def _rows(search: Search, keys: list[int]) -> Iterator[Mapping[str, Any]]:
    serializer = EntrySerializer()
    for start in range(0, len(keys), BATCH):
        batch = keys[start : start + BATCH]
        entries: dict[int, AuditEntry] = search.rows.in_bulk(batch)
        for key in batch:
            yield serializer.to_representation(entries[key])


def _csv(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield line(COLUMNS)
    for row in rows:
        yield line(row[name] for name in COLUMNS)


def _jsonl(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False, default=str) + "\n"


Writer = Callable[[Iterable[Mapping[str, Any]]], Iterator[str]]
FORMATS: dict[str, tuple[Writer, str]] = {
    "csv": (_csv, "text/csv; charset=utf-8"),
    "jsonl": (_jsonl, "application/jsonl; charset=utf-8"),
}
