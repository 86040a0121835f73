"""Programs of vendors: one release each, known by the SHA-256 of its archive, from a file of the operator's or, where
the operator allows it, by https from the vendor.

The digests are those that the vendors publish beside their releases. They stand here, since a list that is fetched with
the archive would be changed along with it.
"""

import hashlib
import platform
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO

from django.conf import settings

from opssight.kernel import outgoing

DOWNLOAD_WITHIN = timedelta(minutes=10)
MOST_ARCHIVE = 200_000_000  # bytes
MOST_PROGRAM = 500_000_000


class NotToBeHad(Exception):
    """Why the program can't be installed, and what to do."""


@dataclass(frozen=True)
class Release:
    version: str
    folder: str  # the address that the archives stand under
    archives: dict[str, tuple[str, str]]  # by machine: name, SHA-256


RELEASES = {
    "gitleaks": Release(
        "8.30.1",
        "https://github.com/gitleaks/gitleaks/releases/download/v8.30.1/",
        {
            "x86_64": (
                "gitleaks_8.30.1_linux_x64.tar.gz",
                "551f6fc83ea457d62a0d98237cbad105af8d557003051f41f3e7ca7b3f2470eb",
            ),
            "aarch64": (
                "gitleaks_8.30.1_linux_arm64.tar.gz",
                "e4a487ee7ccd7d3a7f7ec08657610aa3606637dab924210b3aee62570fb4b080",
            ),
        },
    ),
    # The last release before those of March 2026 that somebody else had put on the vendor's page.
    "trivy": Release(
        "0.69.3",
        "https://github.com/aquasecurity/trivy/releases/download/v0.69.3/",
        {
            "x86_64": (
                "trivy_0.69.3_Linux-64bit.tar.gz",
                "1816b632dfe529869c740c0913e36bd1629cb7688bd5634f4a858c1d57c88b75",
            ),
            "aarch64": (
                "trivy_0.69.3_Linux-ARM64.tar.gz",
                "7e3924a974e912e57b4a99f65ece7931f8079584dae12eb7845024f97087bdfd",
            ),
        },
    ),
}


def archive(name: str) -> tuple[str, str]:
    """Name and SHA-256 of the archive for this machine."""
    found = RELEASES[name].archives.get(platform.machine()) if sys.platform == "linux" else None
    if found is None:
        raise NotToBeHad(f"OpsSight knows no {name} for this machine. Put its program on the PATH of the workers.")
    return found


def check(name: str) -> None:
    """NotToBeHad where there is neither a file of the operator's nor leave to download."""
    file, _ = archive(name)
    if not settings.SCANNER_ARCHIVES[name] and not settings.SCANNER_DOWNLOADS:
        raise NotToBeHad(
            f"Name {file} in OPSSIGHT_{name.upper()}_ARCHIVE, or let OpsSight download it with "
            f"OPSSIGHT_SCANNER_DOWNLOADS=1."
        )


def fetch(name: str, to: Path, *, say: Callable[[str], None], alive: Callable[[], None]) -> None:
    """The vendor's program as the file `to`. NotToBeHad where it is not what was published, or not to be reached."""
    check(name)
    file, digest = archive(name)
    given = settings.SCANNER_ARCHIVES[name]
    with tempfile.TemporaryFile() as copy:
        if given:
            say(f"Reading {given}")
            try:
                with open(given, "rb") as source:
                    shutil.copyfileobj(source, copy)
            except OSError as error:
                raise NotToBeHad(f"{given} can't be read: {error.strerror}.") from None
        else:
            say(f"Downloading {file}")
            _download(RELEASES[name].folder + file, copy, alive)
        say("Comparing its digest")
        copy.seek(0)
        if (found := hashlib.file_digest(copy, "sha256").hexdigest()) != digest:
            raise NotToBeHad(f"{given or file} is not {file} as it was published: its SHA-256 is {found}.")
        say("Unpacking")
        copy.seek(0)
        _unpack(copy, name, to)


def _download(address: str, to: IO[bytes], alive: Callable[[], None]) -> None:
    try:
        with (
            outgoing.client(timeout=DOWNLOAD_WITHIN, max_bytes=MOST_ARCHIVE, follow_redirects=True) as http,
            http.stream("GET", address) as answer,
        ):
            if answer.status_code != 200 or answer.url.scheme != "https":
                raise NotToBeHad(f"{answer.url.host} answers with {answer.status_code} instead of the archive.")
            for part in answer.iter_raw(1_000_000):
                alive()
                to.write(part)
    except outgoing.OutgoingError as error:
        raise NotToBeHad(f"It can't be downloaded: {error}.") from None


def _unpack(archive: IO[bytes], name: str, to: Path) -> None:
    """The one file of that name; whatever else the archive holds is left there."""
    try:
        with tarfile.open(fileobj=archive, mode="r:gz") as tar:
            member = tar.getmember(name)
            content = tar.extractfile(member) if member.isfile() and member.size <= MOST_PROGRAM else None
            if content is None:
                raise NotToBeHad(f"The archive holds no program called {name}.")
            to.parent.mkdir(parents=True)
            with content, to.open("wb") as program:
                shutil.copyfileobj(content, program)
    except (tarfile.TarError, EOFError, KeyError, OSError) as error:
        raise NotToBeHad(f"The archive can't be unpacked: {error}.") from None
    to.chmod(0o755)
