"""A part of the log as a signed bundle, which `verify.py` checks without OpsSight."""

import hashlib
import json
import os
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Self

from django.db.models import Max, Min
from django.utils import timezone

from audit import verify
from audit.canonical import instant
from audit.events import TRAIL_EXPORTED
from audit.models import AuditEntry
from audit.sealing.keys import public_keys, sign
from audit.sealing.models import Checkpoint, Leaf
from audit.sealing.proofs import LOOK, DoesNotFit, checkpoint_of, full_subtrees, subtree_hashes
from audit.sealing.reading import sealed
from audit.sealing.sealer import catch_up
from opssight.kernel.errors import Refusal

README = """A part of the audit trail of {origin}: entries #{start} to before #{end} of {size}.

To check it, take verify.py (one file; Python 3.11 and its package cryptography) and the log's public key from somewhere
else than this bundle, then:

    python verify.py BUNDLE.zip --key 'NAME+ID+KEY'

Also give checkpoints that were kept elsewhere (--anchor FILE) and the log with the receipts (--receipts FILE), if there
are any: without them a log that was set back to an older state would not show. entries.jsonl has one entry a line.
"""


COMPRESSION = 6


class NothingToExport(Refusal):
    status = 400


@dataclass(frozen=True)
class Part:
    """Entries [start, end) of the log that `checkpoint` binds."""

    start: int
    end: int
    checkpoint: Checkpoint
    exported_at: datetime

    @property
    def count(self) -> int:
        return self.end - self.start


def part(start: int | None = None, end: int | None = None, *, since: datetime | None = None,
         until: datetime | None = None) -> Part:  # fmt: skip
    """Seal what waits, then name the part: by positions, or all that lies between two moments. NothingToExport.

    Positions follow the order of sealing, so that a part by time may hold some entries from just outside of it.
    """
    exported_at = timezone.now()
    catch_up()
    checkpoint = checkpoint_of()
    leaves = Leaf.objects.filter(position__lt=checkpoint.size)
    if since is not None:
        first = leaves.filter(entry__timestamp__gte=since).aggregate(n=Min("position"))["n"]
        start = max(start or 0, checkpoint.size if first is None else first)
    if until is not None:
        last = leaves.filter(entry__timestamp__lt=until).aggregate(n=Max("position"))["n"]
        end = min(checkpoint.size if end is None else end, 0 if last is None else last + 1)
    start, end = start or 0, checkpoint.size if end is None else end
    if not 0 <= start < end <= checkpoint.size:
        raise NothingToExport(
            f"There is no entry from #{start} to before #{end}: the log has {checkpoint.size}, from #0 on."
        )
    return Part(start, end, checkpoint, exported_at)


def write_bundle(chosen: Part, path: Path) -> str:
    """Write the bundle beside `path` and rename it when it is whole; tells the trail. Returns its SHA-256."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "w+b") as file:
            _write(chosen, file)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    told: dict[str, Any] = {"from": chosen.start, "to": chosen.end, "size": chosen.checkpoint.size, "sha256": digest}
    TRAIL_EXPORTED.emit(about=AuditEntry, action="READ", **told)
    return digest


class _Member:
    """One file of the bundle: compressed as it is written, its digest and length taken on the way."""

    def __init__(self, bundle: zipfile.ZipFile, name: str) -> None:
        self.digest, self.length = hashlib.sha256(), 0
        self.stream = bundle.open(name, "w", force_zip64=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failed: object) -> None:
        self.stream.close()

    def write(self, data: bytes) -> None:
        self.digest.update(data)
        self.length += len(data)
        self.stream.write(data)

    def described(self) -> dict[str, Any]:
        return {"sha256": self.digest.hexdigest(), "bytes": self.length}


def _write(chosen: Part, file: IO[bytes]) -> None:
    start, end, size = chosen.start, chosen.end, chosen.checkpoint.size
    before, after = full_subtrees(0, start), full_subtrees(end, size)
    hashes = subtree_hashes([*before, *after])
    files, erased = {}, 0
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION) as bundle:
        with _Member(bundle, "entries.jsonl") as member:
            for row in sealed(start, end):
                if row.entry is None:
                    raise DoesNotFit(f"The entry of position {row.position} is gone. {LOOK}")
                erased += row.personal is None
                mac = row.entry.row.mac if row.entry.row else ""
                member.write(verify.entry_line(row.position, row.entry.data, mac, row.personal))
        files["entries.jsonl"] = member.described()

        notes = Checkpoint.objects.filter(size__gte=start, size__lte=end, pk__lte=chosen.checkpoint.pk).order_by("pk")
        with _Member(bundle, "checkpoints.txt") as member:
            for note in notes.values_list("note", flat=True).iterator():
                member.write(f"{note}{verify.BETWEEN_NOTES}".encode())
            if end < size:
                member.write(chosen.checkpoint.note.encode())
        files["checkpoints.txt"] = member.described()

        current, *former = public_keys()
        with _Member(bundle, "README.txt") as member:
            member.write(README.format(origin=current.name, start=start, end=end, size=size).encode())
        files["README.txt"] = member.described()

        manifest = {
            "format": verify.BUNDLE,
            "origin": current.name,
            "from": start,
            "to": end,
            "size": size,
            "exported_at": instant(chosen.exported_at),
            "key": str(current),
            "old_keys": [str(key) for key in former],
            "files": files,
            "before": [[level, verify.encoded(hashes[level, index])] for level, index in before],
            "after": [[level, verify.encoded(hashes[level, index])] for level, index in after],
            "erased": erased,
            "minimum": 0,
        }
        raw = json.dumps(manifest, indent=1).encode()
        bundle.writestr("manifest.json", raw)
        bundle.writestr("manifest.sig", verify.encoded(sign(raw)))
