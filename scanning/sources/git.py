"""Git repositories: which addresses are taken, and one shallow clone into a private folder.

Whoever can write a repository is a stranger. Nothing of it is run or followed: no hook, no filter, no submodule, no
large-file store, no redirect; a symbolic link is written as a file that holds its text.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from django.conf import settings

from scanning.scanners.run import limits
from scanning.sources.base import BadTarget, check_size, is_listed, judged

PORTS = {"https": 443, "http": 80, "ssh": 22}
LOOK = 1.0  # seconds between looks at the size of a growing clone
LAST_WORDS = 500
_REVISION = re.compile(r"[A-Za-z0-9_][\w./+-]{0,199}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9a-fA-F:.]+", re.ASCII)
_USER = re.compile(r"[\w.@+-]+", re.ASCII)

# Nothing that the server, the repository or this machine's own settings of git could turn on.
SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.symlinks": "false",
    "core.fsmonitor": "false",
    "http.followRedirects": "false",
    "http.proxy": "",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "transfer.fsckObjects": "true",
    "transfer.bundleURI": "false",
    "core.askPass": "",
    "gc.auto": "0",
    "advice.detachedHead": "false",
}


@dataclass(frozen=True)
class Repository:
    """`secret` is a password or token; for ssh a private key."""

    url: str
    revision: str = ""
    username: str = ""
    secret: str = ""


def check_address(url: str, revision: str = "") -> SplitResult:
    """The parts of an address that may be cloned; BadTarget with a sentence otherwise. Looks up no name."""
    if any(character.isspace() or not character.isprintable() or character == "\\" for character in url):
        raise BadTarget("The address of a repository holds no spaces, backslashes or control characters.")
    parts = urlsplit(url)
    if parts.scheme not in (*PORTS, "file") or "://" not in url or "::" in url.partition("://")[0]:
        raise BadTarget(
            "The address of a repository must begin with https://, ssh:// or file:// "
            "(ssh://git@host/path for git@host:path)."
        )
    if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
        raise BadTarget("Name and password do not belong into the address: give them in their own fields.")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise BadTarget("The address of a repository ends with its path: nothing behind ? or #.")
    if revision and (not _REVISION.fullmatch(revision) or ".." in revision or revision.endswith((".lock", "/"))):
        raise BadTarget(f"{revision!r} is no name of a branch or tag.", field="branch")
    if parts.scheme == "file":
        _check_folder(parts)
        return parts
    try:
        port = parts.port
    except ValueError:
        port = 0
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or port == 0 or len(parts.path) < 2:
        raise BadTarget("The address of a repository needs a host, and a path behind it.")
    if parts.username is not None and not (_USER.fullmatch(parts.username) and not parts.username.startswith("-")):
        raise BadTarget("The name before the @ of the address is not one.")
    if parts.path.startswith("/-"):
        raise BadTarget("The path of a repository does not begin with a minus.")
    if parts.scheme == "http" and not is_listed(parts.hostname):
        raise BadTarget("Use https: plain http is only taken to a host that OPSSIGHT_OUTGOING_ALLOW lists.")
    if parts.scheme == "ssh" and not settings.GIT_KNOWN_HOSTS:
        raise BadTarget("ssh needs OPSSIGHT_GIT_KNOWN_HOSTS: a file with the keys of the hosts that are trusted.")
    return parts


def _check_folder(parts: SplitResult) -> None:
    place = Path(unquote(parts.path))
    if parts.netloc or "%" in parts.path or not place.is_absolute():
        raise BadTarget("file:// takes an absolute path of this server, such as file:///srv/git/shop.git.")
    if not any(place.resolve().is_relative_to(Path(root).resolve()) for root in settings.GIT_FOLDERS):
        raise BadTarget(f"{place} is in no folder that OPSSIGHT_GIT_FOLDERS lists, so it is not read.")
    if any((place / inside / "objects/info/alternates").exists() for inside in ("", ".git")):
        raise BadTarget(f"{place} borrows its objects from another repository (alternates). Scan a full clone of it.")


def clone(repository: Repository, to: Path, own: Path, *, deadline: float, alive: Callable[[], None]) -> str:
    """Clone the newest commit into `to`, which is made; `own` is a private folder for what git needs meanwhile.

    Answers with the id of the commit. BadTarget where it can't be had, and what `alive` raises.
    """
    parts = check_address(repository.url, repository.revision)
    home = own / "home"
    (home / "template").mkdir(parents=True)
    asked = {**SETTINGS, **_reached(parts)}
    environment = {
        "PATH": os.defpath,
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ALLOW_PROTOCOL": parts.scheme,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_SSH_VARIANT": "ssh",
    }
    if parts.scheme == "ssh":
        environment["GIT_SSH_COMMAND"] = _ssh(parts, repository, home)
    elif repository.secret:
        asked["credential.helper"] = _helper(repository, home)
    options = [word for name, value in asked.items() for word in ("-c", f"{name}={value}")]
    branch = [f"--branch={repository.revision}"] if repository.revision else []
    command = [
        "git", *options, "clone", "--quiet", "--depth=1", "--single-branch", "--no-tags", "--no-recurse-submodules",
        "--no-local", f"--template={home / 'template'}", *branch, "--", repository.url, str(to),
    ]  # fmt: skip
    said = _run(command, own, environment, to, deadline, alive)
    if said is not None:
        raise BadTarget(f"The repository could not be cloned: {_plain(said, repository)}. Nothing was closed.")
    commit = subprocess.run(
        ["/usr/bin/env", "git", "-C", str(to), "rev-parse", "--verify", "HEAD^{commit}"],
        env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    ).stdout.strip()  # fmt: skip
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        raise BadTarget("The repository has no commit yet, so there is nothing to read.")
    check_size(to)
    return commit


def _reached(parts: SplitResult) -> dict[str, str]:
    """The host's address is judged as that of any call, and the connection goes to what was judged."""
    if parts.scheme == "file":
        return {}
    address = _judged(parts)
    if parts.scheme == "ssh":
        return {}
    shown = f"[{address}]" if ":" in address else address
    return {"http.curloptResolve": f"{parts.hostname}:{parts.port or PORTS[parts.scheme]}:{shown}"}


def _judged(parts: SplitResult) -> str:
    return judged(parts.hostname or "", parts.port or PORTS[parts.scheme], what="repository")


def _helper(repository: Repository, home: Path) -> str:
    """The credential lies in a file that git's helper reads: on no command line, in no environment."""
    given = home / "credential"
    _write(given, f"username={repository.username or 'git'}\npassword={repository.secret}\n")
    return f"!cat '{given}' #"


def _ssh(parts: SplitResult, repository: Repository, home: Path) -> str:
    key = home / "key"
    _write(key, repository.secret.replace("\r\n", "\n").rstrip("\n") + "\n")
    options = {
        "IdentityFile": key, "IdentitiesOnly": "yes", "BatchMode": "yes", "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": settings.GIT_KNOWN_HOSTS, "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": parts.hostname, "HostName": _judged(parts), "ProxyCommand": "none", "ForwardAgent": "no",
    }  # fmt: skip
    return " ".join(["ssh", "-F", "/dev/null", *(f"-o '{name}={value}'" for name, value in options.items())])


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _run(
    command: list[str], own: Path, environment: dict[str, str], growing: Path, deadline: float,
    alive: Callable[[], None],
) -> str | None:  # fmt: skip
    """None where git did its work, else its words. Nothing of its process group is left."""
    with (own / "words").open("wb") as said:
        process = subprocess.Popen(
            [*limits(network=True), *command], cwd=own, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=said, process_group=0,
        )  # fmt: skip
        try:
            while True:
                try:
                    code = process.wait(max(0.01, min(LOOK, deadline - time.monotonic())))
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() >= deadline:
                        raise BadTarget("The clone was not done in time (OPSSIGHT_SCAN_TIMEOUT_MINUTES).") from None
                    alive()
                    check_size(growing)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return (own / "words").read_text(errors="replace") if code else None


def _plain(said: str, repository: Repository) -> str:
    """Git's last words, on one line and without what must not be told."""
    if repository.secret:
        said = said.replace(repository.secret, "…")
    line = " ".join("".join(c if c.isprintable() else " " for c in said).split())
    return line[-LAST_WORDS:].rstrip(".") or "git said nothing"
