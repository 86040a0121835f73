"""Unpacking what strangers packed: zip and tar, with the usual compressions.

Only plain files come out, under the folder they are unpacked into; links and devices are left out. Nested archives stay
closed. Sizes are counted as bytes come out, whatever the archive says of itself.
"""

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from scanning.sources.base import BadTarget, refuse_beyond

MOST_READ = 16_000_000  # bytes of one header; a longer one is an attack on memory
MOST_LISTED = 64_000_000  # bytes of a zip's directory
DEEPEST, LONGEST, LONGEST_PART = 64, 900, 255  # levels, and bytes of a name
RATIO = 1_000  # times that a file of a zip may grow; deflate itself gives no more than 1,032
CHUNK = 1 << 20
OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, NotImplementedError,
    RuntimeError, ValueError, OverflowError,
)  # fmt: skip


def is_archive(path: Path) -> bool:
    """Whether it begins as one of the kinds that are unpacked."""
    with path.open("rb") as file:
        head = file.read(512)
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06", *OPENERS)) or head[257:262] == b"ustar"


def is_image(path: Path) -> bool:
    """Whether it is a container image as `docker save` or an OCI layout packs it. BadTarget where it can't be read."""
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            return False
        file.seek(0)
        try:
            return any(entry.name.lstrip("./") in ("manifest.json", "oci-layout") for entry in _entries(file))
        except _BROKEN as error:
            raise _unreadable(error) from None


def unpack(path: Path, to: Path, *, alive: Callable[[], None] = lambda: None) -> Path:
    """Unpack into `to`, which is made, and answer with the root: a single folder at the top is taken off, so that
    shop-1.0/ and shop-1.1/ are the same tree. BadTarget where it can't or must not be unpacked."""
    to.mkdir(mode=0o700)
    out = _Out(to, alive)
    with path.open("rb") as file:
        try:
            (_unzip if file.read(2) == b"PK" else _untar)(file, out)
        except _BROKEN as error:
            raise _unreadable(error) from None
        except OSError as error:
            raise BadTarget(f"The archive can't be unpacked: {error.strerror or error}.") from None
    if not out.files:
        raise BadTarget("The archive holds no file.")
    inside = list(to.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else to


def _unreadable(error: Exception) -> BadTarget:
    return BadTarget(f"The archive can't be read: it is cut off, damaged or of another kind ({str(error)[:200]}).")


class _Out:
    """Where files come out, and how much has."""

    def __init__(self, to: Path, alive: Callable[[], None]) -> None:
        self.to, self.alive = to, alive
        self.files = self.size = 0

    def write(self, name: str, stream: IO[bytes]) -> None:
        place = self.to.joinpath(*parts_of(name))
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.files += 1
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            while chunk := stream.read(CHUNK):
                self.size += len(chunk)
                refuse_beyond(self.files, self.size)
                file.write(chunk)
        refuse_beyond(self.files, self.size)
        self.alive()


def parts_of(name: str) -> list[str]:
    """The parts of a name inside the archive. BadTarget where it leads out of it, or is none."""
    shown = ascii(name[:100])
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if name[:1] in ("/", "\\") or ".." in parts or (len(name) > 1 and name[1] == ":"):
        raise BadTarget(f"The archive wants to write outside of its folder: {shown}. Nothing was unpacked from it.")
    if not parts or any(ord(character) < 32 or character == "\x7f" for character in name):
        raise BadTarget(f"The archive holds a name that is none: {shown}.")
    lengths = [len(part.encode("utf-8", "surrogateescape")) for part in parts]
    if len(parts) > DEEPEST or sum(lengths) > LONGEST or max(lengths) > LONGEST_PART:
        raise BadTarget(f"The archive holds a name that is too long or too deep: {shown}.")
    return parts


# --- zip ------------------------------------------------------------------------------------------------------------


def _unzip(file: IO[bytes], out: _Out) -> None:
    _check_directory(file)
    with zipfile.ZipFile(file) as archive:
        refuse_beyond(len(archive.filelist), sum(info.file_size for info in archive.filelist))
        for info in archive.filelist:
            mode = info.external_attr >> 16
            if info.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
                continue
            if info.flag_bits & 1:
                raise BadTarget("The archive is encrypted. Upload it without a password.")
            if info.file_size > RATIO * max(info.compress_size, 1_000):
                raise BadTarget(f"The archive is a bomb: {info.filename[:100]!a} grows beyond measure.")
            with archive.open(info) as stream:
                out.write(info.filename, stream)


def _check_directory(file: IO[bytes]) -> None:
    """Refuse a directory that would fill the memory before its first entry is looked at."""
    file.seek(0, os.SEEK_END)
    end = file.tell()
    file.seek(max(0, end - 65_557))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise zipfile.BadZipFile("its directory is missing")
    if b"PK\x06\x07" in tail[max(0, at - 20) : at]:
        raise BadTarget("The archive is a zip of the large kind (zip64). Pack it as tar.gz.")
    if int.from_bytes(tail[at + 12 : at + 16], "little") > MOST_LISTED:
        raise BadTarget("The archive lists too many files.")
    file.seek(0)


# --- tar ------------------------------------------------------------------------------------------------------------


class _Counted:
    """What comes out of the compression, read forward: no header may be huge, nor all of it together."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > MOST_READ:
            raise tarfile.ReadError("a header of it is too long")
        data = self.stream.read(size)
        refuse_beyond(0, self.tell())
        return data

    def seek(self, place: int, whence: int = 0) -> int:
        refuse_beyond(0, place)
        return self.stream.seek(place, whence)

    def tell(self) -> int:
        return self.stream.tell()


def _entries(file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    with tarfile.open(fileobj=_counted(file), mode="r:") as archive:
        yield from archive


def _counted(file: IO[bytes]) -> Any:
    file.seek(0)
    head = file.read(6)
    file.seek(0)
    for magic, opener in OPENERS.items():
        if head.startswith(magic):
            return _Counted(opener(file))
    return _Counted(file)


def _untar(file: IO[bytes], out: _Out) -> None:
    with tarfile.open(fileobj=_counted(file), mode="r:") as archive:
        for number, entry in enumerate(archive, 1):
            refuse_beyond(number, out.size)  # links and folders cost as well
            if not entry.isreg():
                continue
            refuse_beyond(out.files, out.size + entry.size)
            stream = archive.extractfile(entry)
            if stream is not None:
                out.write(entry.name, stream)
