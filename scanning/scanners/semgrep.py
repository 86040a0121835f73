"""Semgrep, with our own rules and the operator's, and semgrep's own from the network where the operator asks for them.

It exits 0 with findings too, 2 and 7 where it failed. `paths.scanned` says what it read. One job at a time: each takes
memory of its own, and the other core is for alerts. Files that are named are read whatever .semgrepignore says.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

import yaml
from django.conf import settings

from scanning.reports.words import SECRET_CWES, masked, numbered, secret
from scanning.scanners.base import SLOW_START, NotReady, Report, Scanner, register
from scanning.scanners.names import is_text

MOST_LINES = 20  # of a finding's code that are kept
RULES = Path(__file__).parent.parent / "rules"
SUFFIXES = {
    "python": (".py", ".pyi"), "javascript": (".js", ".jsx", ".mjs", ".cjs"), "typescript": (".ts", ".tsx"),
    "java": (".java",), "go": (".go",), "ruby": (".rb",), "php": (".php",), "c": (".c", ".h"), "csharp": (".cs",),
    "cpp": (".cpp", ".cc", ".cxx", ".hpp", ".hh"), "rust": (".rs",), "kotlin": (".kt", ".kts"), "scala": (".scala",),
    "swift": (".swift",), "bash": (".sh", ".bash"), "yaml": (".yml", ".yaml"), "json": (".json",), "html": (".html",),
    "terraform": (".tf", ".tfvars"), "dockerfile": ("Dockerfile", ".dockerfile"),
}  # fmt: skip
ALIASES = {"py": "python", "js": "javascript", "ts": "typescript", "golang": "go", "hcl": "terraform", "sh": "bash"}


@register
class Semgrep(Scanner):
    name = "semgrep"
    reads = "source in a language that its rules know"
    pace = SLOW_START

    @property
    def environment(self) -> Mapping[str, str]:
        return {"SEMGREP_ENABLE_VERSION_CHECK": "0"}

    @property
    def network(self) -> bool:
        return bool(settings.SEMGREP_AUTO)

    def check(self) -> None:
        super().check()
        if settings.SEMGREP_RULES and not Path(settings.SEMGREP_RULES).is_dir():
            raise NotReady(f"OPSSIGHT_SEMGREP_RULES names {settings.SEMGREP_RULES}, which is not a folder.")

    def read(self, stream: BinaryIO, files: list[str], root: Path) -> Report:
        """With the code that was flagged, which semgrep shows to those alone who have signed in to it."""
        report = super().read(stream, files, root)
        lines: dict[str, list[str]] = {}
        for number, found in enumerate(report.findings):
            if found.code or not found.line:
                continue
            if found.path not in lines:
                lines[found.path] = (root / found.path).read_text(errors="replace").splitlines()
            rows = lines[found.path][found.line - 1 : max(found.line, found.end_line)]
            code, hidden = "\n".join(rows[:MOST_LINES]), found.cwe in SECRET_CWES
            report.findings[number] = replace(
                found,
                code=numbered(found.line, masked(code) if hidden else code),
                flagged=code,
                identity=secret(found.rule, found.path, " ".join(code.split())) if hidden else found.identity,
            )
        return report

    def fits(self, name: str) -> bool:
        endings = None if settings.SEMGREP_AUTO else suffixes(settings.SEMGREP_RULES)
        return is_text(name) if endings is None else name.endswith(endings)

    def command(self, files: list[str], report: Path) -> list[str]:
        own = ["--config", settings.SEMGREP_RULES] if settings.SEMGREP_RULES else []
        return [
            self.program, "scan", "--config", str(RULES), *own,
            # Which rules `auto` gives depends on what semgrep is told of the project; without metrics it gives none.
            *(["--config", "auto", "--metrics=on"] if settings.SEMGREP_AUTO else ["--metrics=off"]),
            "--disable-version-check", "--quiet",
            "--json", "--output", str(report), "--no-git-ignore", "--max-target-bytes", "0", "--jobs", "1",
            *(f"./{name}" for name in files),
        ]  # fmt: skip


@cache
def suffixes(folder: str) -> tuple[str, ...] | None:
    """The files that our rules and those in `folder` are about; None: any text. Read once, so restart for more."""
    known: set[str] = set(SUFFIXES["python"])
    for path in Path(folder).rglob("*.y*ml") if folder else []:
        try:
            rules = yaml.safe_load(path.read_bytes())["rules"]
            languages = {str(language).lower() for rule in rules for language in rule["languages"]}
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            continue  # semgrep itself will say what is wrong with it
        for language in languages:
            if (ending := SUFFIXES.get(ALIASES.get(language, language))) is None:
                return None
            known.update(ending)
    return tuple(sorted(known))
