"""An OSV mirror of the operator's, `OPSSIGHT_OSV_DIR` with `PyPI/all.zip` in it, made into an index that can be asked.

The index is made anew when the zip has changed: into a file of its own, which takes the place of the older one once it
is whole. A zip that can't be read leaves the index as it is, and the tool is not ready until there is a better one.
"""

import json
import os
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from packaging.utils import canonicalize_name

from opssight.settings import env
from scanning.scanners.base import NotReady

MOST_OF_A_RECORD = 20_000_000  # bytes, unpacked; the largest real ones have about 1 MB
BATCH = 500


def source() -> Path:
    return Path(settings.OSV_DIR, "PyPI", "all.zip")


def index() -> Path:
    return env.HOME / "osv" / "PyPI.sqlite3"


def check() -> None:
    """NotReady where there is no zip, or this very one could not be read before. Opens neither."""
    if not source().is_file():
        raise NotReady(f"OPSSIGHT_OSV_DIR names {settings.OSV_DIR}, which holds no PyPI/all.zip.")
    kept = _broken().read_text().partition("\n") if _broken().exists() else ("", "", "")
    if kept[0] == _stamp():
        raise NotReady(kept[2])


def data_at() -> datetime | None:
    """When the newest record of the index was changed; of a zip that was not read yet, when the file was."""
    try:
        if told := _meta().get("newest"):
            return datetime.fromisoformat(told)
        return datetime.fromtimestamp(source().stat().st_mtime, UTC)
    except (OSError, ValueError):
        return None


def prepare(alive: Callable[[], None]) -> Path:
    """The index of the zip as it is now. NotReady where that is broken; `alive` is called while it lasts."""
    check()
    stamp = _stamp()
    if _meta().get("stamp") == stamp:
        return index()
    index().parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=index().parent, suffix=".new")
    os.close(handle)
    try:
        with closing(sqlite3.connect(name, isolation_level=None)) as made:
            _fill(made, stamp, alive)
        os.replace(name, index())
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, NotImplementedError) as error:
        reason = f"{source()} can't be read: {error}. Copy it anew; what was known before is kept, and not asked."
        _broken().write_text(f"{stamp}\n{reason}")
        raise NotReady(reason) from None
    finally:
        Path(name).unlink(missing_ok=True)
    _broken().unlink(missing_ok=True)
    return index()


def _fill(made: sqlite3.Connection, stamp: str, alive: Callable[[], None]) -> None:
    made.execute("PRAGMA journal_mode = OFF")  # it is thrown away where it does not come to its end
    made.execute("PRAGMA synchronous = OFF")
    made.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT)")
    made.execute("CREATE TABLE record (package TEXT, id TEXT, body BLOB, PRIMARY KEY (package, id)) WITHOUT ROWID")
    made.execute("BEGIN")
    newest, count = "", 0
    with zipfile.ZipFile(source()) as archive:
        for record, body in _records(archive):
            names = {canonicalize_name(name) for name in _packages(record)}
            made.executemany("INSERT OR REPLACE INTO record VALUES (?, ?, ?)", [(n, record["id"], body) for n in names])
            newest, count = max(newest, str(record.get("modified", ""))), count + 1
            if count % BATCH == 0:
                alive()
    if not count:
        raise ValueError("it holds no record")
    made.executemany("INSERT INTO meta VALUES (?, ?)", [("stamp", stamp), ("newest", newest), ("records", str(count))])
    made.execute("COMMIT")


def _records(archive: zipfile.ZipFile) -> Iterator[tuple[dict[str, Any], bytes]]:
    for member in archive.infolist():
        if not member.filename.endswith(".json"):
            continue
        if member.file_size > MOST_OF_A_RECORD:
            raise ValueError(f"{member.filename} is larger than {MOST_OF_A_RECORD} bytes")
        body = archive.read(member)
        record = json.loads(body)
        if not isinstance(record, dict) or not isinstance(record.get("id"), str):
            raise ValueError(f"{member.filename} is no OSV record")
        yield record, body


def _packages(record: dict[str, Any]) -> Iterator[str]:
    for entry in record.get("affected") or []:
        package = entry.get("package") or {}
        if package.get("ecosystem") == "PyPI" and isinstance(package.get("name"), str):
            yield package["name"]


def _meta() -> dict[str, str]:
    """What the index says of itself; nothing where there is none."""
    if not index().exists():
        return {}
    try:
        with closing(sqlite3.connect(f"file:{index()}?mode=ro", uri=True)) as made:
            return dict(made.execute("SELECT key, value FROM meta").fetchall())
    except sqlite3.DatabaseError:
        return {}


def _stamp() -> str:
    told = source().stat()
    return f"{source()} {told.st_size} {told.st_mtime_ns}"


def _broken() -> Path:
    return index().with_suffix(".broken")
