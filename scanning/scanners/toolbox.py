"""The scanners' own installations: each Python tool in a venv under $OPSSIGHT_HOME/scanners, with every package of it
pinned in pins/; vendors' programs are taken from the PATH.

Imports neither Django nor a package of the main venv beyond the environment reader, since `make install` calls
`python -m scanning.scanners.toolbox install bandit` beside the main installation.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from opssight.settings import env

PINS = Path(__file__).parent / "pins"
PINNED = sorted(path.stem for path in PINS.glob("*.txt"))
DEFAULT = "bandit"  # what `make install` brings
ON_PATH = ("gitleaks", "trivy")  # programs of vendors, which come by no package index

COMPLETE = "complete"  # written last, so that a half-made venv is never taken for the tool
ANSWER_WITHIN = 20.0  # seconds a program has to say its version


class NotInstalled(Exception):
    """The tool is not there, with the sentence that says how to get it."""


def pinned(name: str) -> str:
    """The version that OpsSight installs; "" where it installs none."""
    if name in ON_PATH:
        return ""
    return re.findall(rf"^{re.escape(name)}==(\S+)", (PINS / f"{name}.txt").read_text(), re.MULTILINE)[0]


def version(name: str) -> str:
    """The version that is used: the pinned one, or what the program on the PATH says of itself."""
    if name not in ON_PATH:
        return pinned(name)
    try:
        said = subprocess.run(
            [program(name), "version" if name == "gitleaks" else "--version"],
            capture_output=True, text=True, timeout=ANSWER_WITHIN, stdin=subprocess.DEVNULL,
        ).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+\.\d+[\w.+-]*", said)
    return found.group()[:32] if found else ""


def _folder(name: str) -> Path:
    return env.HOME / "scanners" / f"{name}-{pinned(name)}"


def how_to_get(name: str) -> str:
    if name in ON_PATH:
        return f"Put its program {name} on the PATH of the workers; OpsSight does not download it."
    return "Run: make install" if name == DEFAULT else f"Run: make scanner NAME={name}"


def program(name: str) -> Path:
    """The tool's executable; NotInstalled where it is missing."""
    if name in ON_PATH:
        found = shutil.which(name)
        if not found:
            raise NotInstalled(f"{name} is not installed. {how_to_get(name)}")
        return Path(found).absolute()
    path = _folder(name) / "bin" / name
    if not (_folder(name) / COMPLETE).exists() or not os.access(path, os.X_OK):
        raise NotInstalled(f"{name} {pinned(name)} is not installed. {how_to_get(name)}")
    return path


def install(name: str) -> Path:
    """Make the tool's venv, unless it is there. CalledProcessError or OSError where that fails."""
    env.ensure_home()
    final = _folder(name)
    final.parent.mkdir(exist_ok=True)
    with (final.parent / f"{name}.lock").open("w") as lock:  # two at once would build in one folder
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return program(name)
        except NotInstalled:
            _install(name, final)
    return program(name)


def _install(name: str, final: Path) -> None:
    shutil.rmtree(final, ignore_errors=True)
    uv = shutil.which("uv") or os.environ.get("UV")
    if uv:
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(final)], check=True)
        pip = [uv, "pip", "install", "-q", "--no-deps", "--python", str(final / "bin" / "python")]
    else:
        subprocess.run([sys.executable, "-m", "venv", str(final)], check=True)
        pip = [str(final / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(PINS / f"{name}.txt")], check=True)
    (final / COMPLETE).touch()


def main(argv: list[str]) -> int:
    if len(argv) < 2 or argv[0] != "install" or not set(argv[1:]) <= set(PINNED):
        print(f"usage: python -m scanning.scanners.toolbox install {'|'.join(PINNED)} …", file=sys.stderr)
        return 2
    for name in argv[1:]:
        try:
            install(name)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"{name} could not be installed: {error}", file=sys.stderr)
            return 3
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
