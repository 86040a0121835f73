"""What a scan's log says: when which part was read, and the end of what the tool said, as people may read it."""

import re
from pathlib import Path

from django.utils import timezone

from opssight.settings import env

KEPT = 12_000  # characters of a scan's log
_HIDDEN = "…"
_COLOURS = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
# A tool may repeat the secret that it has found, or the address with a password by which it was to ask somebody.
_SECRETS = [
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), _HIDDEN),
    (re.compile(r"^[A-Za-z0-9+/=_-]{56,}$", re.MULTILINE), _HIDDEN),  # a key whose beginning was cut off
    (re.compile(r"(\w+://)[^\s/@]+@"), rf"\1{_HIDDEN}@"),
    (re.compile(r"(?im)^(.*?\b(?:proxy-)?(?:authorization|cookie)\b[\"']?\s*[:=]).*$"), rf"\1 {_HIDDEN}"),
    (
        re.compile(
            r"(?i)([\w-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|credential)[\w-]*[\"']?"
            r"\s*[:=]\s*)(\"[^\"\n]*\"?|'[^'\n]*'?|[^\s,;&]+)"
        ),
        rf"\1{_HIDDEN}",
    ),
    (
        re.compile(
            r"\b(?:gh[opsur]_\w{16,}|github_pat_\w+|glpat-[\w-]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}|xox[abeprs]-[\w-]+"
            r"|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|ops_\w+)"
        ),
        _HIDDEN,
    ),
]  # fmt: skip


def last_words(file: Path, *folders: Path, most: int = KEPT, hidden: tuple[str, ...] = ()) -> str:
    """The end of what stands in `file`, in whole lines. Paths in `folders` are told from there on."""
    with file.open("rb") as said:
        size = said.seek(0, 2)
        said.seek(max(0, size - 4 * most))
        text = said.read().decode("utf-8", "replace")
    if size > 4 * most:
        text = text.partition("\n")[2]
    return _end(readable(text, *folders, hidden=hidden), most)


def readable(text: str, *folders: Path, hidden: tuple[str, ...] = ()) -> str:
    """Without secrets, colours and characters that hide or turn text. Of OpsSight's own data folder no path is told.
    `hidden` are secrets that are known."""
    text = _CONTROLS.sub("", _COLOURS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))).strip()
    for secret in hidden:
        text = text.replace(secret, _HIDDEN)
    for folder in folders:
        text = text.replace(f"{folder}/", "").replace(str(folder), ".")
    text = re.sub(re.escape(str(env.HOME)) + r"[^\s'\",;:)]*", f"$OPSSIGHT_HOME/{_HIDDEN}", text)
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def _end(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{_HIDDEN}\n" + text[-most:].partition("\n")[2]


def added(log: str, line: str) -> str:
    """The log with a line of ours under the time, in UTC."""
    return _end(f"{log}\n{timezone.now():%H:%M:%S} {line}".lstrip("\n"), KEPT)


def below(log: str, said: str) -> str:
    """The log with what the tool said, set below the line before."""
    return _end(log + "".join(f"\n    {words}" for words in said.splitlines() if words.strip()), KEPT)
