"""What every report comes to: runs of tools, with findings. Nothing here knows a format or touches a row."""

from dataclasses import dataclass, field

MAX_BYTES = 200_000_000  # unpacked; the field's largest reports are half of it
MAX_DEPTH = 64  # levels of nesting; SARIF's deepest honest ones have about 20
MAX_FINDINGS = 200_000
MAX_VALUES = 100_000  # of one finding: what is held in memory at once
MAX_TEXT = 20_000  # characters of a description or of code that are kept
MAX_NAME = 1_000  # of a path, a package, a rule


class UnreadableReport(Exception):
    """Not a report that can be relied on; the message names the line or field, and what to do. Never "no findings"."""


@dataclass(frozen=True)
class RawFinding:
    """What a report says of one weakness. `flagged` is the code that was flagged, `code` the excerpt around it.

    A secret stands in none of these but `flagged`, which goes into the fingerprint and is kept nowhere.
    """

    rule: str
    title: str
    description: str
    severity: int
    path: str
    line: int
    code: str = ""
    flagged: str = ""
    confidence: str = ""
    cwe: int | None = None
    help_url: str = ""
    end_line: int = 0
    column: int = 0
    end_column: int = 0
    aliases: tuple[str, ...] = ()  # CVE, GHSA, …; the primary advisory first
    cvss: float | None = None
    cvss_vector: str = ""
    package: str = ""
    package_version: str = ""
    fix_version: str = ""
    identity: str = ""  # what it is known by where that is not its code: a dependency, a secret, the tool's own mark
    mark: str = ""  # the fingerprint itself, where the report is an export of ours
    suppressed: str = ""  # why the tool was told to leave it, "" where it was not
    occurrences: int = 1  # how often the report says it of this place


@dataclass(frozen=True)
class Run:
    """One run of one tool. A report may hold several.

    `files` are those that the tool says it read, None where the format does not tell. `errors` is by file what it could
    not read. `complete` is false where it says that it did not do its work. `revision` is an image's digest.
    """

    tool: str
    version: str = ""
    findings: list[RawFinding] = field(default_factory=list)
    files: set[str] | None = None
    errors: dict[str, str] = field(default_factory=dict)
    complete: bool = True
    revision: str = ""
