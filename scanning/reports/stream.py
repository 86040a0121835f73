"""A report as a stream: unpacked, within limits, one element at a time; what is wrong is told with line and field."""

import gzip
import re
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from decimal import DecimalException
from typing import Any, BinaryIO, cast

import ijson

from scanning.reports.base import MAX_BYTES, MAX_DEPTH, MAX_FINDINGS, MAX_VALUES, UnreadableReport

CHUNK = 1 << 16
IN_MEMORY = 8_000_000  # of an unpacked report; the rest of it goes to a temporary file
MAX_KEYS = 1_000_000  # of the objects that are open at once: each is remembered, so that none comes twice
KINDS = {
    "start_map": "an object",
    "start_array": "a list",
    "string": "a text",
    "number": "a number",
    "boolean": "a yes/no",
}
WRONG = (ijson.JSONError, UnicodeDecodeError, ValueError, DecimalException)


class Unpacked(tempfile.SpooledTemporaryFile[bytes]):
    """The bytes of a report, gunzipped, to be read as often as needed; gone with the last who reads them."""

    def __del__(self) -> None:
        self.close()


def unpack(stream: BinaryIO) -> Unpacked:
    """Gunzipped where it is gzip, by its first bytes; refused where it is too large, or at first sight no JSON."""
    if isinstance(stream, Unpacked):
        return stream
    head = stream.read(2)
    source: BinaryIO = _Joined(head, stream)  # type: ignore[assignment]
    if head == b"\x1f\x8b":
        source = cast(BinaryIO, gzip.GzipFile(fileobj=source))
    file, size = Unpacked(max_size=IN_MEMORY), 0
    try:
        while chunk := source.read(CHUNK):
            if not size:
                _look_at(chunk)
                chunk = chunk.removeprefix(b"\xef\xbb\xbf")
            size += len(chunk)
            if size > MAX_BYTES:
                limit = MAX_BYTES // 1_000_000
                raise UnreadableReport(f"The report is larger than {limit} MB unpacked. Split it, or scan in parts.")
            file.write(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableReport(f"The gzip file is damaged or was cut off ({error}). Pack the report again.") from error
    return file


class _Joined:
    """The first bytes again, and then the rest."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self.head, self.rest = head, rest

    def read(self, size: int = -1) -> bytes:
        head, self.head = self.head, b""
        left = size - len(head) if size >= 0 else size
        return head + (self.rest.read(left) if left else b"")


def _look_at(start: bytes) -> None:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start[:4]:
        raise UnreadableReport(
            "Line 1: the report is UTF-16, not UTF-8. Let the tool write the file, or save it as UTF-8."
        )
    if start.lstrip()[:1] == b"<":
        raise UnreadableReport("Line 1: the report is XML or HTML. OpsSight reads JSON: let the tool write that.")


def elements(
    file: Unpacked, *wanted: str, need: Sequence[str] = (), null: bool = False
) -> Iterator[tuple[str, str, Any]]:
    """What stands at the `wanted` places, such as "results[]" or "results.*[]", each with the place it was found at.

    A place such as "metrics.*" stands for the keys there. Nothing else is held in memory. `need` are places that must
    be lists or objects; `null` allows a report of just that.
    """
    tree, met = _tree((*wanted, *need), wanted), set[str]()
    frames: list[_Frame] = []
    holding: list[Any] = []
    counts: dict[str, int] = {}
    values, keys, name, place = 0, 0, "", ""
    feed = _Feed(file)
    try:
        for event, value in ijson.basic_parse(feed, buf_size=CHUNK):
            if event == "map_key":
                frame, keys = frames[-1], keys + 1
                if keys > MAX_KEYS:
                    raise UnreadableReport(f"{_place(frames[:-1]) or 'The report'} has more than {MAX_KEYS} keys.")
                if value in frame.keys:
                    raise UnreadableReport(f"{feed.told(value)} stands twice in {_place(frames[:-1]) or 'the report'}.")
                frame.keys.add(value)
                frame.key = feed.text(value)
                continue
            if event in ("end_map", "end_array"):
                keys -= len(frames.pop().keys)
                if holding:
                    done = holding.pop()
                    if not holding:
                        yield name, place, done
                continue
            top = frames[-1] if frames else None
            if top is not None and top.is_list:
                top.key += 1
            opens = event in ("start_map", "start_array")
            node = None if holding else tree if top is None else _below(top)
            if opens:
                value = {} if event == "start_map" else []
            elif event == "string":
                value = feed.text(value)
            if holding:
                values += 1
                if values > MAX_VALUES:
                    raise UnreadableReport(f"{place} holds more than {MAX_VALUES} values.")
                assert top is not None
                if top.is_list:
                    holding[-1].append(value)
                else:
                    holding[-1][top.key] = value
                if opens:
                    holding.append(value)
            elif node is not None:
                if node.wanted:
                    name, place, values = node.name, _place(frames), 0
                    counts[name] = counts.get(name, 0) + 1
                    if counts[name] > MAX_FINDINGS:
                        raise UnreadableReport(f"There are more than {MAX_FINDINGS} of {name}. Scan in parts.")
                    if name.endswith("*") and top is not None:
                        yield name, place, top.key
                    elif opens:
                        holding.append(value)
                    else:
                        yield name, place, value
                elif opens and ("[]" in node.below) == (event == "start_array"):
                    met.add(node.name)
                elif event == "null":
                    if top is None and not null:
                        raise UnreadableReport("Line 1: the report is null: the tool wrote no result.")
                else:
                    kind = "a list" if "[]" in node.below else "an object"
                    raise UnreadableReport(
                        f"{_place(frames) or 'Line 1: the report'} is {KINDS[event]}, {kind} was expected."
                    )
            if opens:
                if len(frames) >= MAX_DEPTH:
                    raise UnreadableReport(f"{_place(frames)[:200]} is nested deeper than {MAX_DEPTH} levels.")
                frames.append(_Frame(event == "start_array", node if node and not node.wanted else None))
    except WRONG as error:
        raise _unreadable(feed, error, _place(frames)) from error
    if missing := [where for where in need if where not in met]:
        raise UnreadableReport(f"{missing[0]} is missing: the report is of another format, or was cut.")


def within(findings: Sequence[object]) -> None:
    """One element may hold many findings."""
    if len(findings) > MAX_FINDINGS:
        raise UnreadableReport(f"There are more than {MAX_FINDINGS} findings. Scan in parts.")


class _Node:
    __slots__ = ("below", "name", "wanted")

    def __init__(self, name: str) -> None:
        self.name, self.wanted, self.below = name, False, dict[str, "_Node"]()


class _Frame:
    __slots__ = ("is_list", "key", "keys", "node")

    def __init__(self, is_list: bool, node: _Node | None) -> None:
        self.is_list, self.node = is_list, node
        self.key: Any = -1 if is_list else ""
        self.keys = set[str]()


def _tree(places: Sequence[str], wanted: Sequence[str]) -> _Node:
    root = _Node("")
    for place in places:
        node, name = root, ""
        for step in re.findall(r"\[\]|[^.\[]+", place):
            name += step if step == "[]" or not name else f".{step}"
            node = node.below.setdefault(step, _Node(name))
        node.wanted |= place in wanted
    return root


def _below(frame: _Frame) -> _Node | None:
    if frame.node is None:
        return None
    below = frame.node.below
    return below.get("[]") if frame.is_list else below.get(frame.key) or below.get("*")


def _place(frames: Sequence[_Frame]) -> str:
    told = ""
    for frame in frames:
        told += f"[{max(frame.key, 0)}]" if frame.is_list else f".{printable(frame.key)[:60]}" if frame.key else ""
    return told.removeprefix(".")


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


# Names of files that are not UTF-8 stand as lone surrogates in what Python's own tools write, and the parser would
# turn them all into "?". They pass through it as letters of a private plane.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][cC][89a-fA-F][0-9a-fA-F]|.)", re.S
)
_PRIVATE = {0x10FC00 + byte: 0xDC00 + byte for byte in range(0x80, 0x100)}


class _Feed:
    """The report as the parser takes it, knowing how far it came."""

    def __init__(self, file: Unpacked) -> None:
        file.seek(0)
        self.file, self.odd, self.read_so_far, self.last = file, False, 0, b""

    def read(self, size: int) -> bytes:
        if size <= 0:
            return b""
        chunk = self.file.read(size)
        while b"\\" in chunk[-12:] and (more := self.file.read(len(chunk))):  # an escape is never cut in two
            chunk += more
        if b"\\ud" in chunk or b"\\uD" in chunk:
            chunk = _ESCAPE.sub(self._escape, chunk)
        self.read_so_far += len(self.last)
        self.last = chunk
        return chunk

    def _escape(self, match: re.Match[bytes]) -> bytes:
        found = match[0]
        if len(found) != 6 or found[1:2] != b"u":
            return found
        self.odd = True
        return chr(0x10FC00 + (int(found[2:], 16) & 0xFF)).encode()

    def text(self, value: str) -> str:
        return value.translate(_PRIVATE) if self.odd else value

    def told(self, value: str) -> str:
        return f'"{printable(value)[:60]}"'


def _unreadable(feed: _Feed, error: Exception, place: str) -> UnreadableReport:
    words, inside = str(error), f" in {place[:200]}" if place else ""
    line, column, ended = _position(feed)
    if (line, column) == (1, 1) and ended:
        return UnreadableReport("The report is empty. Did the tool end with an error?")
    if ended or "premature EOF" in words:
        return UnreadableReport(f"The report ends at line {line}{inside}: it was cut off. Send the whole file.")
    if "UTF8" in words or isinstance(error, UnicodeDecodeError):
        return UnreadableReport(
            f"Line {line}, column {column}{inside}: bytes that are not UTF-8. Save the report as UTF-8."
        )
    return UnreadableReport(
        f"Line {line}, column {column}{inside}: this is not JSON. Is it the tool's JSON report, whole?"
    )


def _position(feed: _Feed) -> tuple[int, int, bool]:
    """Line and column where it stops being JSON, and whether that is its end. The parser itself does not say."""
    good = feed.read_so_far
    again = _Feed(feed.file)
    parser = ijson.basic_parse_coro(ijson.sendable_list())
    line, column, done = 1, 1, 0
    try:
        while chunk := again.read(CHUNK):
            step = len(chunk) if done + len(chunk) <= good else max(len(chunk) // CHUNK, 1)
            pieces = [chunk[at : at + step] for at in range(0, len(chunk), step)]
            done += len(chunk)
            for piece in pieces:
                parser.send(piece)
                if lines := piece.count(b"\n"):
                    line, column = line + lines, len(piece) - piece.rfind(b"\n")
                else:
                    column += len(piece)
    except WRONG:
        return line, column, False
    return line, column, True
