"""The scanners' own installations: each Python tool in a venv under $OPSSIGHT_HOME/scanners, pinned.

Imports neither Django nor a package of the main venv beyond the environment reader, since `make install` calls
`python -m scanning.scanners.toolbox install bandit` beside the main installation.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from opssight.settings import env

PINS: dict[str, list[str]] = {
    "bandit": [
        "bandit==1.9.4",
        "markdown-it-py==4.3.0",
        "mdurl==0.1.2",
        "pygments==2.21.0",
        "pyyaml==6.0.3",
        "rich==15.0.0",
        "stevedore==5.10.0",
    ],
}

COMPLETE = "complete"  # written last, so that a half-made venv is never taken for the tool


class NotInstalled(Exception):
    """The tool is not there, with the sentence that says how to get it."""


def version(name: str) -> str:
    return PINS[name][0].partition("==")[2]


def _folder(name: str) -> Path:
    return env.HOME / "scanners" / f"{name}-{version(name)}"


def program(name: str) -> Path:
    """The tool's executable; NotInstalled where it is missing."""
    path = _folder(name) / "bin" / name
    if not (_folder(name) / COMPLETE).exists() or not os.access(path, os.X_OK):
        raise NotInstalled(f"{name} {version(name)} is not installed. Run: make install")
    return path


def install(name: str) -> Path:
    """Make the tool's venv, unless it is there. CalledProcessError or OSError where that fails."""
    try:
        return program(name)
    except NotInstalled:
        pass
    env.ensure_home()
    final = _folder(name)
    shutil.rmtree(final, ignore_errors=True)
    uv = shutil.which("uv") or os.environ.get("UV")
    if uv:
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(final)], check=True)
        pip = [uv, "pip", "install", "-q", "--no-deps", "--python", str(final / "bin" / "python")]
    else:
        subprocess.run([sys.executable, "-m", "venv", str(final)], check=True)
        pip = [str(final / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, *PINS[name]], check=True)
    (final / COMPLETE).touch()
    return program(name)


def main(argv: list[str]) -> int:
    if len(argv) != 2 or argv[0] != "install" or argv[1] not in PINS:
        print(f"usage: python -m scanning.scanners.toolbox install {'|'.join(PINS)}", file=sys.stderr)
        return 2
    try:
        install(argv[1])
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"{argv[1]} could not be installed: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
