"""The scanners' own installations, each in a folder under $OPSSIGHT_HOME/scanners: a Python tool as a venv with every
package of it pinned in pins/, a vendor's program by the digest in vendors.py, which may also come from the PATH.

Imports neither Django nor a package of the main venv beyond the environment reader, since `make install` calls
`python -m scanning.scanners.toolbox install bandit` beside the main installation. Vendors' programs take both.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path

from opssight.settings import env

PINS = Path(__file__).parent / "pins"
PINNED = sorted(path.stem for path in PINS.glob("*.txt"))
DEFAULT = "bandit"  # what `make install` brings
ON_PATH = ("gitleaks", "trivy")  # programs of vendors, which come by no package index

COMPLETE = "complete"  # written last, so that a half-made venv is never taken for the tool
ANSWER_WITHIN = 20.0  # seconds a program has to say its version
INSTALL_WITHIN = timedelta(minutes=20)
HEARTBEAT = 5.0  # seconds between calls of `alive`
LAST_WORDS = 2000  # characters


class NotInstalled(Exception):
    """The tool is not there, with the sentence that says how to get it."""


class InstallFailed(Exception):
    """Nothing was installed; with the last words of what was tried."""


def pinned(name: str) -> str:
    """The version that OpsSight installs."""
    if name in ON_PATH:
        from scanning.scanners import vendors

        return vendors.RELEASES[name].version
    return re.findall(rf"^{re.escape(name)}==(\S+)", (PINS / f"{name}.txt").read_text(), re.MULTILINE)[0]


def version(name: str) -> str:
    """The version that is used: the pinned one, or what the program on the PATH says of itself. NotInstalled."""
    path = program(name)
    return pinned(name) if is_own(path) else _said(path, path.stat().st_mtime_ns)


@cache
def _said(path: Path, changed: int) -> str:
    try:
        said = subprocess.run(
            [path, "version" if path.name == "gitleaks" else "--version"],
            capture_output=True, text=True, timeout=ANSWER_WITHIN, stdin=subprocess.DEVNULL,
        ).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+\.\d+[\w.+-]*", said)
    return found.group()[:32] if found else ""


def _folder(name: str) -> Path:
    return env.HOME / "scanners" / f"{name}-{pinned(name)}"


def is_own(path: Path) -> bool:
    """Whether OpsSight installed it, rather than found it on the PATH."""
    return path.is_relative_to(env.HOME / "scanners")


def is_installed(name: str) -> bool:
    """Whether OpsSight has installed the pinned version."""
    return (_folder(name) / COMPLETE).exists() and os.access(_folder(name) / "bin" / name, os.X_OK)


def others(name: str) -> list[Path]:
    """Installations of other versions, which an earlier pin has left."""
    found = (env.HOME / "scanners").glob(f"{name}-[0-9]*")
    return sorted(path for path in found if path != _folder(name) and path.is_dir())


def how_to_get(name: str) -> str:
    if name in ON_PATH:
        return f"Put its program {name} on the PATH of the workers, or run: make scanner NAME={name}"
    return "Run: make install" if name == DEFAULT else f"Run: make scanner NAME={name}"


def program(name: str) -> Path:
    """The tool's executable; NotInstalled where it is missing."""
    if is_installed(name):
        return _folder(name) / "bin" / name
    if name in ON_PATH and (found := shutil.which(name)):
        return Path(found).absolute()
    older = f" There is {', '.join(path.name for path in others(name))}, of before." if others(name) else ""
    raise NotInstalled(f"{name} {pinned(name)} is not installed.{older} {how_to_get(name)}")


def install(
    name: str, *, say: Callable[[str], None] = lambda step: None, alive: Callable[[], None] = lambda: None
) -> Path:
    """Make the tool's folder, unless it is there, and take away those of other versions.

    `say` hears each step, `alive` is called while it lasts. InstallFailed or OSError where it comes to nothing; nothing
    half is left.
    """
    env.ensure_home()
    final = _folder(name)
    final.parent.mkdir(exist_ok=True)
    with (final.parent / f"{name}.lock").open("w") as lock:  # two at once would build in one folder
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_installed(name):
            shutil.rmtree(final, ignore_errors=True)
            try:
                (_fetch if name in ON_PATH else _build)(name, final, say, alive)
                (final / COMPLETE).touch()
            except BaseException:
                shutil.rmtree(final, ignore_errors=True)
                raise
        for old in others(name):
            shutil.rmtree(old, ignore_errors=True)
    return program(name)


def remove(name: str) -> None:
    """Take away what OpsSight installed of the tool, of any version."""
    (env.HOME / "scanners").mkdir(parents=True, exist_ok=True)
    with (env.HOME / "scanners" / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in (_folder(name), *others(name)):
            shutil.rmtree(folder, ignore_errors=True)


def _fetch(name: str, final: Path, say: Callable[[str], None], alive: Callable[[], None]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opssight.settings.prod")
    from scanning.scanners import vendors

    try:
        vendors.fetch(name, final / "bin" / name, say=say, alive=alive)
    except vendors.NotToBeHad as error:
        raise InstallFailed(str(error)) from None


def _build(name: str, final: Path, say: Callable[[str], None], alive: Callable[[], None]) -> None:
    pins = PINS / f"{name}.txt"
    count = len(re.findall("^[^#\\s]", pins.read_text(), re.MULTILINE))
    beside = Path(sys.executable).with_name("uv")
    uv = shutil.which("uv") or os.environ.get("UV") or (str(beside) if beside.exists() else "")
    say("Making its environment")
    if uv:
        _do([uv, "venv", "-q", "--python", sys.executable, str(final)], alive)
        pip = [uv, "pip", "install", "-q", "--no-deps", "--python", str(final / "bin" / "python")]
    else:
        _do([sys.executable, "-m", "venv", str(final)], alive)
        pip = [str(final / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check"]
    say(f"Installing {count} packages")
    _do([*pip, "-r", str(pins)], alive)


def _do(command: list[str], alive: Callable[[], None]) -> None:
    """Run it to its end, with none of our secrets. InstallFailed with its last words where it fails."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("OPSSIGHT_")}
    until = time.monotonic() + INSTALL_WITHIN.total_seconds()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=known)
        try:
            while True:
                try:
                    code = process.wait(HEARTBEAT)
                    break
                except subprocess.TimeoutExpired:
                    alive()
                    if time.monotonic() > until:
                        raise InstallFailed(f"It took longer than {INSTALL_WITHIN.seconds // 60} minutes.") from None
        finally:
            process.kill()
            process.wait()
        if code:
            said.seek(0)
            words = said.read().decode(errors="replace").strip()[-LAST_WORDS:]
            raise InstallFailed(f"{Path(command[0]).name} ended with exit code {code}:\n{words or 'it said nothing'}")


def main(argv: list[str]) -> int:
    known = {*PINNED, *ON_PATH}
    if len(argv) < 2 or argv[0] not in ("install", "remove") or not set(argv[1:]) <= known:
        print(f"usage: python -m scanning.scanners.toolbox install|remove {'|'.join(sorted(known))} …", file=sys.stderr)
        return 2
    for name in argv[1:]:
        try:
            install(name) if argv[0] == "install" else remove(name)
        except (InstallFailed, NotInstalled, OSError) as error:
            print(f"{name} could not be installed: {error}", file=sys.stderr)
            return 3
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
