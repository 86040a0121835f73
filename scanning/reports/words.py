"""What tools say in their own words, in ours: severities, CWE, advisories, names, and secrets kept quiet."""

import re
from collections.abc import Iterable

from opssight.kernel.crypto import keyed_hash
from scanning.models import Severity
from scanning.reports.base import MAX_NAME, MAX_TEXT

# "Unknown" and no word at all are medium: what nobody rated still gets a deadline.
SEVERITIES: dict[str, int] = {
    "critical": Severity.CRITICAL,
    "high": Severity.HIGH,
    "error": Severity.HIGH,
    "important": Severity.HIGH,
    "medium": Severity.MEDIUM,
    "moderate": Severity.MEDIUM,
    "warning": Severity.MEDIUM,
    "low": Severity.LOW,
    "note": Severity.LOW,
    "negligible": Severity.LOW,
    "info": Severity.INFO,
    "informational": Severity.INFO,
    "inventory": Severity.INFO,
    "none": Severity.INFO,
}
MASK = "********"
SECRET_CWES = {259, 321, 798}


def severity(word: str, cvss: float | None = None) -> int:
    """By the word, else by the score."""
    known = SEVERITIES.get(word.strip().lower())
    if known is not None:
        return known
    return Severity.MEDIUM if cvss is None else by_score(cvss)


def by_score(cvss: float) -> int:
    """CVSS's own scale."""
    if cvss >= 9:
        return Severity.CRITICAL
    if cvss >= 7:
        return Severity.HIGH
    if cvss >= 4:
        return Severity.MEDIUM
    return Severity.LOW if cvss > 0 else Severity.INFO


# Controls, and letters that turn the direction of writing.
_RANGES = ((0, 0x20), (0x7F, 0xA0), (0x202A, 0x202F), (0x2066, 0x206A))
_UNSEEN = dict.fromkeys((code for first, end in _RANGES for code in range(first, end)), "\ufffd")


def name(text: str) -> str:
    """A rule, a package, a tool: one line, without letters that nobody sees."""
    return text.strip().translate(_UNSEEN)[:MAX_NAME]


def title(text: str) -> str:
    """The first sentence, on one line."""
    line = " ".join(text.split())
    return line.partition(". ")[0].rstrip(".").translate(_UNSEEN)[:300]


def prose(text: str) -> str:
    return text[:MAX_TEXT]


def link(text: str) -> str:
    """An address that a browser may follow, or none."""
    return name(text) if re.match(r"https?://", text, re.I) and len(text) <= 500 else ""


def cwe(words: Iterable[object]) -> int | None:
    """The first number in "CWE-79: …", "external/cwe/cwe-079", 79."""
    for word in words:
        found = re.search(r"\bcwe[-_ ]?0*(\d{1,6})\b", str(word), re.I) or re.fullmatch(r"0*(\d{1,6})", str(word))
        if found:
            return int(found[1])
    return None


def advisories(first: str, *others: str) -> tuple[str, ...]:
    """The primary one, then its aliases, each once."""
    return tuple(dict.fromkeys(name(other) for other in (first, *others) if other.strip()))


def numbered(line: int, text: str) -> str:
    """An excerpt as pages show it: each line behind its number."""
    rows = (f"{line + n} {row}" for n, row in enumerate(text[:MAX_TEXT].splitlines()))
    return "\n".join(rows)[:MAX_TEXT] if line else ""


def without_numbers(text: str) -> str:
    """What a message says wherever it is said: it stands for the code where a tool shows none."""
    return re.sub(r"\d+", "#", text)


# --- what something is known by --------------------------------------------------------------------------------------


def dependency(ecosystem: str, package: str, known_as: Iterable[str], manifest: str) -> str:
    """A vulnerable package, whatever its version and whichever of its advisory's names a tool knows first."""
    names = sorted(known.upper() for known in known_as)
    root = next((known for known in names if known.startswith("CVE-")), None)
    advisory = root or next(iter(known_as), "").upper()
    ecosystem = {"pip": "pypi", "pipenv": "pypi", "poetry": "pypi", "uv": "pypi"}.get(
        ecosystem.lower(), ecosystem.lower()
    )
    if ecosystem == "pypi":
        package = re.sub(r"[-_.]+", "-", package).lower()
    return "\0".join(("package", ecosystem, package, advisory, manifest))


def secret(rule: str, path: str, hidden: str) -> str:
    """A secret in a file, wherever in it; by a keyed hash, so that nobody can try guesses against it."""
    return "\0".join(("secret", rule, path, keyed_hash("scanning.secret", hidden)))


def without_values(text: str) -> str:
    """Configuration, without what its settings of secrets and its environment are set to; quoted or not."""
    text = re.sub(r"(?im)^(\s*(?:ENV|ARG)\s+[^\s=]+[\s=]).*$", rf"\1{MASK}", masked(text))
    return _SETTING.sub(rf"\1{MASK}", text)


# `value` is Kubernetes' word for what an environment variable is set to.
_SETTING = re.compile(
    r"(?i)((?:\bvalue|pass(?:word|wd|phrase)?|pwd|secret|token|key|credentials?|connection_?string|dsn)"
    r"[\w.-]*['\"]?\s*[:=]\s*)(?![\s\[{|>*])[^,}\]\n]+"
)


def masked(text: str) -> str:
    """Without what stands in quotes, and without words that look like keys."""
    text = re.sub(r"""(['"])(?:\\.|(?!\1)[^\n\\])+(\1|(?=\n|$))""", rf"\g<1>{MASK}\g<1>", text)
    return re.sub(r"[A-Za-z0-9+/=_\-]{16,}", lambda found: MASK if re.search(r"\d", found[0]) else found[0], text)
