"""SARIF 2.1.0, the format that most tools can write: several runs, rules beside results, fingerprints, suppressions.

Read twice, since the rules may stand behind the results.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO
from urllib.parse import unquote

from scanning.models import Severity
from scanning.reports.base import RawFinding, Run, UnreadableReport
from scanning.reports.fields import Node, score
from scanning.reports.paths import Paths
from scanning.reports.stream import Unpacked, elements, unpack
from scanning.reports.words import (
    SECRET_CWES,
    by_score,
    cwe,
    link,
    masked,
    name,
    numbered,
    prose,
    secret,
    severity,
    title,
    without_numbers,
)

MAX_HELP = 1_000  # characters of what is said of a rule, since each of its findings says it again
DRIVER = "runs[].tool.driver"
ABOUT = (
    "version",
    f"{DRIVER}.name",
    f"{DRIVER}.version",
    f"{DRIVER}.semanticVersion",
    f"{DRIVER}.rules[]",
    "runs[].tool.extensions[].rules[]",
    "runs[].originalUriBaseIds",
    "runs[].invocations[]",
    "runs[].artifacts[]",
)
SECRET_TOOLS = re.compile(r"gitleaks|secret|trufflehog|ggshield|whispers", re.I)
# What changes without the weakness: the file as a whole, who wrote it when, where in the line it is.
FLEETING = re.compile(r"file|commit|author|email|date|message|column|line_?number|index", re.I)
OUR_MARK = re.compile(r"\d{1,3}:[0-9a-f]{40}")
SHOWN_FIRST = "primaryLocationLineHash"


@dataclass
class _Rule:
    title: str
    help: str
    level: str
    cvss: float | None
    cwe: int | None
    secret: bool
    url: str
    messages: dict[str, str]


@dataclass
class _Run:
    tool: str = ""
    version: str = ""
    bases: dict[str, str] = field(default_factory=dict)
    artifacts: list[str] = field(default_factory=list)
    rules: dict[tuple[int, int], tuple[str, _Rule]] = field(default_factory=dict)
    by_id: dict[str, _Rule] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    findings: list[RawFinding] = field(default_factory=list)
    complete: bool = True
    paths: Paths = field(default_factory=Paths)


def read(stream: BinaryIO, root: str = "") -> list[Run]:
    file = unpack(stream)
    runs = _about(file)
    for run in runs.values():
        if not run.tool:
            raise UnreadableReport("runs[].tool.driver.name is missing.")
        run.paths = Paths(root, *(base for base in run.bases.values() if base.strip("/")))
    for _, place, value in elements(file, "runs[].results[]"):
        number = _index(place)
        if number not in runs:
            raise UnreadableReport(f"runs[{number}].tool.driver.name is missing.")
        result = Node(value, place)
        if result.text("kind", "fail") in ("fail", "open", "review"):
            runs[number].findings.append(_finding(result, runs[number]))
    return [
        Run(_slug(run.tool), run.version, run.findings, None, run.errors, run.complete)
        for _, run in sorted(runs.items())
    ]


def _slug(tool: str) -> str:
    """A tool's name as its own reports are filed: "Trivy" and "trivy" are one."""
    return re.sub(r"[^a-z0-9._-]+", "_", tool.lower()).strip("_")[:32] or "sarif"


def _index(place: str, list_name: str = "runs") -> int:
    found = re.search(rf"\b{list_name}\[(\d+)\]", place)
    return int(found[1]) if found else 0


def _about(file: Unpacked) -> dict[int, _Run]:
    runs, version = dict[int, _Run](), None
    for kind, place, value in elements(file, *ABOUT, need=("runs",)):
        if kind == "version":
            version = value
            continue
        run = runs.setdefault(_index(place), _Run())
        if kind == f"{DRIVER}.name":
            run.tool = name(str(value))
        elif kind.startswith(f"{DRIVER}.") and "ersion" in kind:
            run.version = run.version or name(str(value))
        elif kind.endswith("rules[]"):
            _add_rule(run, Node(value, place), -1 if kind.startswith(DRIVER) else _index(place, "extensions"))
        elif kind == "runs[].originalUriBaseIds":
            bases = Node(value, place)
            run.bases |= {key: bases.node(key).text("uri", "") for key in bases.keys()}  # noqa: SIM118
        elif kind == "runs[].invocations[]":
            _invoked(run, Node(value, place))
        else:
            run.artifacts.append(_uri(Node(value, place).node("location"), run))
    if version != "2.1.0":
        raise UnreadableReport('version is not "2.1.0". Let the tool write SARIF 2.1.0.')
    return runs


def _invoked(run: _Run, invocation: Node) -> None:
    run.bases.setdefault(f"cwd {len(run.bases)}", invocation.node("workingDirectory").text("uri", ""))
    if invocation.raw("executionSuccessful") is False:
        run.complete = False
    for note in invocation.nodes("toolExecutionNotifications"):
        if note.text("level", "warning") == "error":
            run.complete = False
            run.errors[run.tool or "tool"] = name(note.node("message").text("text", "an error"))[:500]


def _add_rule(run: _Run, rule: Node, where: int) -> None:
    properties, key = rule.node("properties"), rule.text("id")
    tags = [str(tag) for tag in properties.items("tags")] if isinstance(properties.raw("tags"), list) else []
    found = _Rule(
        title=rule.node("shortDescription").text("text", "") or rule.text("name", ""),
        help=(rule.node("fullDescription").text("text", "") or rule.node("help").text("text", ""))[:MAX_HELP],
        level=rule.node("defaultConfiguration").text("level", "warning"),
        cvss=_security(properties),
        cwe=cwe([tag for tag in tags if "cwe" in tag.lower()] + _cwe_words(properties)),
        secret=any(tag.lower() in ("secret", "secrets") for tag in tags),
        url=rule.text("helpUri", ""),
        messages={
            message: rule.node("messageStrings").node(message).text("text", "")
            for message in rule.node("messageStrings").keys()  # noqa: SIM118
        },
    )
    run.rules[where, int(re.findall(r"rules\[(\d+)\]", rule.place)[-1])] = key, found
    run.by_id.setdefault(key, found)


def _cwe_words(properties: Node) -> list[object]:
    found = properties.raw("cwe")
    return found if isinstance(found, list) else [found] if found else []


def _security(properties: Node) -> float | None:
    """GitHub's property; a word in its place is no score, and no reason to refuse a report."""
    value = properties.raw("security-severity")
    try:
        return score(value, properties.at("security-severity"))
    except UnreadableReport:
        return None


def _uri(location: Node, run: _Run) -> str:
    """An artifact's address, on its base where that is a folder we know."""
    address = location.text("uri", "")
    index = location.raw("index")
    if not address and isinstance(index, int) and 0 <= index < len(run.artifacts):
        return run.artifacts[index]
    return address if address.lower().startswith("file:") or "://" in address else unquote(address)


def _finding(result: Node, run: _Run) -> RawFinding:
    key, rule = _rule(result, run)
    place = next(iter(result.nodes("locations")), Node({}, result.at("locations[0]"))).node("physicalLocation")
    region = place.node("region")
    path = run.paths.take(_uri(place.node("artifactLocation"), run), place.at("artifactLocation.uri"))
    message = _message(result.node("message"), rule)
    snippet = region.node("snippet").text("text", "")
    properties = result.node("properties")
    cvss = _security(properties)
    cvss = cvss if cvss is not None else rule.cvss
    level = result.text("level", rule.level)
    weakness = cwe(_cwe_words(properties)) or rule.cwe
    hidden = rule.secret or weakness in SECRET_CWES or bool(SECRET_TOOLS.search(run.tool))
    line, identity = region.number("startLine", 0), _identity(result, key, path)
    if hidden and snippet and not identity:
        identity = secret(key, path, " ".join(snippet.split()))
    told = masked(message) if hidden else message
    context = place.node("contextRegion")
    excerpt = numbered(context.number("startLine", 0), context.node("snippet").text("text", ""))
    known_as = tuple(dict.fromkeys(re.findall(r"\b(?:CVE-\d{4}-\d{4,}|GHSA(?:-[a-z0-9]{4}){3})\b", key)))
    found = RawFinding(
        rule=key,
        title=title(rule.title or told) or key,
        description=prose("\n\n".join(dict.fromkeys(filter(None, (told, rule.help))))),
        severity=by_score(cvss) if cvss else Severity.INFO if level == "none" else severity(level),
        path=path,
        line=line,
        code="" if hidden else excerpt or numbered(line, snippet),
        flagged=without_numbers(message) if hidden or not snippet else snippet,
        cwe=weakness,
        help_url=link(rule.url),
        end_line=region.number("endLine", line),
        column=region.number("startColumn", 0),
        end_column=region.number("endColumn", 0),
        aliases=known_as,
        cvss=cvss,
        identity=identity,
        suppressed=_suppressed(result),
    )
    return _exported(result, found)


def _exported(result: Node, found: RawFinding) -> RawFinding:
    """What an export of ours says of a finding beyond what SARIF has a place for; another report stays as it is."""
    mark = result.node("partialFingerprints").raw("opssight/v1")
    if not isinstance(mark, str) or not OUR_MARK.fullmatch(mark):
        return found
    own = result.node("properties").node("opssight")
    return replace(
        found,
        mark=mark,
        title=title(own.text("title", "")) or found.title,
        description=prose(own.text("description", found.description)),
        severity=severity(own.text("severity", "")),
        confidence=name(own.text("confidence", "")),
        cwe=own.number("cwe", 0) or found.cwe,
        aliases=tuple(name(alias) for alias in own.texts("aliases")) or found.aliases,
        cvss_vector=name(own.text("cvss_vector", "")),
        package=name(own.text("package", "")),
        package_version=name(own.text("package_version", "")),
        fix_version=name(own.text("fix_version", "")),
        occurrences=own.number("occurrences", 1) or 1,
    )


def _rule(result: Node, run: _Run) -> tuple[str, _Rule]:
    """By its place where one is given, else by its id; an id may have a part of the result's own behind a slash."""
    about = result.node("rule")
    index = result.raw("ruleIndex") if "ruleIndex" in result else about.raw("index")
    tool = about.node("toolComponent").raw("index")
    key = result.text("ruleId", "") or about.text("id", "")
    listed: Any = run.rules.get((tool if isinstance(tool, int) else -1, index)) if isinstance(index, int) else None
    if listed is None:
        rule = run.by_id.get(key) or run.by_id.get(key.rpartition("/")[0])
        listed = key, rule or _Rule("", "", "warning", None, None, False, "", {})
    key = name(key or listed[0])
    # The same folder of rules stands before semgrep's ids here as in its own reports.
    return (key.rsplit(".", 1)[-1] if "semgrep" in run.tool.lower() else key) or "unnamed", listed[1]


def _message(message: Node, rule: _Rule) -> str:
    text = message.text("text", "") or rule.messages.get(message.text("id", ""), "") or message.text("markdown", "")
    given = message.items("arguments")[:20]
    # Once, and not again in what was put in: placeholders in arguments would make a small report a huge one.
    return prose(
        re.sub(
            r"\{(1?\d)\}", lambda at: str(given[int(at[1])])[:200] if int(at[1]) < len(given) else at[0], prose(text)
        )
    )


def _identity(result: Node, rule: str, path: str) -> str:
    """The tool's own fingerprint, without what is none: parts that change with the file, and "requires login"."""
    for marks in (result.node("partialFingerprints"), result.node("fingerprints")):
        values = {key: str(marks.raw(key)) for key in marks.keys()}  # noqa: SIM118
        values = {key: value for key, value in values.items() if value and value != "requires login"}
        first = {key: value for key, value in values.items() if key.startswith(SHOWN_FIRST)}
        lasting = first or {key: value for key, value in values.items() if not FLEETING.search(key)}
        if lasting:
            return "\0".join(("mark", rule, path, *(f"{key}={lasting[key]}" for key in sorted(lasting))))
    return ""


def _suppressed(result: Node) -> str:
    for suppression in result.nodes("suppressions"):
        if suppression.text("status", "accepted") == "accepted":
            return prose(
                suppression.text("justification", "") or f"suppressed {suppression.text('kind', 'externally')}"
            )
    return ""
