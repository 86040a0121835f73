"""What of an asset is read, cut into parts small enough that the first results show early.

Files are listed here and handed to the tool one by one: bandit's own exclusion compares substrings of whole paths, so
that a folder under /home/me/.github would be skipped and reported clean.
"""

import os
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from django.conf import settings

from scanning.models import Asset
from scanning.scanners.base import Pace, Pull, Scanner
from scanning.sources.base import BadTarget

SKIPPED = frozenset(
    {".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".eggs", ".mypy_cache"}
)
OWN_PACKAGES = ("opssight", "accounts", "rbac", "audit", "scanning", "compliance")


class NothingToRead(BadTarget):
    """There are files, and none that the tool reads."""


@dataclass(frozen=True)
class Part:
    """Some files of one root, read by one run of the tool in that root. `files` are relative to it."""

    name: str
    root: Path
    files: list[str]


@dataclass
class Survey:
    parts: list[Part]
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Where the files of an asset lie now. Paths of findings are relative to their root.

    `revision` says which state of it this is: a commit, or a file's SHA-256; "" where it has none. `shown` is what
    people call it. What the tool fetches by itself is in `pull`, and in no root.
    """

    roots: list[Path]
    shown: str
    only: tuple[str, ...] | None = None  # the folders of the first root that count
    revision: str = ""
    pull: Pull | None = None


def place_of(asset: Asset) -> Place:
    """Of an asset whose files lie on this server as they are."""
    if asset.kind == Asset.Kind.INSTALLATION:
        return Place([settings.BASE_DIR, Path(sysconfig.get_path("purelib"))], str(settings.BASE_DIR), OWN_PACKAGES)
    return Place([Path(asset.location)], asset.location)


def survey(place: Place, scanner: Scanner) -> Survey:
    """List the files that a tool reads. NothingToRead where there is none, BadTarget where nothing can be known."""
    if place.pull:
        return Survey([Part(place.pull.reference[:200], place.roots[0], [place.pull.reference])])
    found = Survey([])
    sized = list(_listing(place, scanner.fits, found.unreadable))
    if not sized:
        trouble = f" {len(found.unreadable)} folders or files could not be read." if found.unreadable else ""
        others = next(_listing(place, lambda name: True, []), None) is not None and not trouble
        refused = NothingToRead if others else BadTarget
        raise refused(f"{place.shown} holds no file that this scanner reads ({scanner.reads}).{trouble}")
    found.parts = list(_parts(sized, scanner.pace))
    return found


def fitting(asset: Asset, scanners: Iterable[Scanner]) -> list[Scanner]:
    """Those that find something to read, and of an asset that is not looked into before its scan, all that could. None
    in a target that can't be read."""
    all_of_them = list(scanners)
    if asset.kind not in (Asset.Kind.FOLDER, Asset.Kind.INSTALLATION):
        return all_of_them
    found: list[Scanner] = []
    try:
        for _, name, _ in _listing(place_of(asset), lambda name: any(one.fits(name) for one in all_of_them), []):
            found += [scanner for scanner in all_of_them if scanner not in found and scanner.fits(name)]
            if len(found) == len(all_of_them):
                break
    except BadTarget:
        return []
    return [scanner for scanner in all_of_them if scanner in found]


def _listing(place: Place, wanted: Callable[[str], bool], unreadable: list[str]) -> Iterator[tuple[Path, str, int]]:
    for number, root in enumerate(place.roots):
        _check(root)
        for name, size in _files(root, wanted, place.only if number == 0 else None, unreadable):
            yield root, name, size


def _check(root: Path) -> None:
    if not root.exists():
        raise BadTarget(f"{root} does not exist. Nothing was closed.")
    if not root.is_dir():
        raise BadTarget(f"{root} is not a folder. Give the folder that holds the source.")
    try:
        os.scandir(root).close()
    except OSError as error:
        raise BadTarget(f"{root} can't be read: {error.strerror}.") from None


def _files(
    root: Path, wanted: Callable[[str], bool], only: tuple[str, ...] | None, unreadable: list[str]
) -> Iterator[tuple[str, int]]:
    """Relative name and size of each file, by folder. Links out of the root are not followed."""

    def failed(error: OSError) -> None:
        unreadable.append(f"{error.filename}: {error.strerror}")

    for folder, folders, files in os.walk(root, onerror=failed):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        if only is not None and Path(folder) == root:
            folders[:], files = [name for name in only if name in folders], []
        inside = os.path.relpath(folder, root)
        for file in sorted(files):
            path, name = os.path.join(folder, file), file if inside == "." else os.path.join(inside, file)
            if not wanted(name):
                continue
            if os.path.islink(path) and not Path(os.path.realpath(path)).is_relative_to(root.resolve()):
                continue
            if not os.access(path, os.R_OK) or not os.path.isfile(path):
                unreadable.append(f"{path}: can't be read")
                continue
            yield name, os.path.getsize(path)


def _parts(sized: list[tuple[Path, str, int]], pace: Pace) -> Iterator[Part]:
    budget = pace.first
    for root, group in groupby(sized, key=lambda item: item[0]):
        files: list[str] = []
        weight = 0
        for _, name, size in group:
            if files and (weight + size > budget or len(files) >= pace.files):
                yield Part(_name(files), root, files)
                files, weight, budget = [], 0, min(budget * 4, pace.most)
            files.append(name)
            weight += size
        yield Part(_name(files), root, files)


def _name(files: list[str]) -> str:
    """What a part is called while it is read: its first and last package."""
    first, last = (name.partition(os.sep)[0] for name in (files[0], files[-1]))
    return (first if first == last else f"{first} … {last}").encode("utf-8", "replace").decode()[:200]
