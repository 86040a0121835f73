"""Where a finding is, in the asset: relative, with "/", never outside."""

import posixpath
import re
from urllib.parse import unquote

from scanning.reports.base import MAX_NAME, UnreadableReport
from scanning.reports.stream import printable

DRIVE = re.compile(r"^[A-Za-z]:[\\/]")
SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
# No code is checked out here; a report that names them is about something else than the asset.
SYSTEM = {"bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "windows"}


class Paths:
    """The paths of one run. Absolute ones must lie in one of `roots`, or none is known and all are absolute.

    Then the whole path stays, without its first slash: the folder that they happen to share would change with them,
    and with it the identity of each finding.
    """

    def __init__(self, *roots: str) -> None:
        self.roots = [_slashes(root).rstrip("/") for root in roots if root]
        self.relative = self.absolute = ""

    def take(self, name: str, place: str) -> str:
        """The path in the asset; `place` is told where it is outside."""
        if not name or (SCHEME.match(name) and not name.lower().startswith("file:")):
            return name[:MAX_NAME]
        path = _slashes(name)
        for root in self.roots:
            if path == root or path.startswith(f"{root}/"):
                path = path[len(root) :].lstrip("/") or "."
                break
        else:
            path = self._unrooted(path, place)
        while path.startswith("./"):
            path = path[2:]
        if ".." in re.split(r"[/\\]", path):
            path = posixpath.normpath(path.replace("\\", "/"))
            if path == ".." or path.startswith("../"):
                raise self._outside(name, place)
        if len(path) > MAX_NAME:
            raise UnreadableReport(f"{place} is longer than {MAX_NAME} characters.")
        return path

    def _unrooted(self, path: str, place: str) -> str:
        absolute = path.startswith(("/", "\\\\")) or DRIVE.match(path)
        if absolute:
            bare = re.sub(r"^(?:[A-Za-z]:)?/+", "", path)
            self.absolute = self.absolute or path
            if self.relative or bare.split("/")[0].lower() in SYSTEM or not bare:
                raise self._outside(path, place)
            return bare
        self.relative = self.relative or path
        if self.absolute and path != ".":
            raise self._outside(self.absolute, place)
        return path

    @staticmethod
    def _outside(name: str, place: str) -> UnreadableReport:
        told = printable(name)[:200]
        return UnreadableReport(
            f'{place} names "{told}", which is outside the asset. Run the tool in the asset\'s own folder.'
        )


def _slashes(name: str) -> str:
    """A file: address as its path; a path of Windows with slashes. Elsewhere a backslash is a letter like others."""
    if name.lower().startswith("file:"):
        rest = name[5:]
        name = unquote(re.sub(r"^//[^/]*", "", rest) if rest.startswith("//") else rest)
        if DRIVE.match(name[1:]):
            name = name[1:]
    if DRIVE.match(name) or name.startswith((".\\", "\\\\")):
        name = name.replace("\\", "/")
    return name
