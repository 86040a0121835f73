"""What every source of files shares: the refusal, the limits, whom it may ask, and a private folder that does not
outlive its scan."""

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

from django.conf import settings

from opssight.kernel import outgoing
from opssight.settings import env

MOST_FILES = 200_000
LOCK = ".lock"
SCRATCH = "opssight-scan-"
LEFT_OVER = 3600  # seconds


class BadTarget(Exception):
    """The target can't be scanned, with the sentence that says why; `field` is what of the asset is wrong."""

    def __init__(self, detail: str, *, field: str = "location") -> None:
        super().__init__(detail)
        self.field = field


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder (0700) under $OPSSIGHT_HOME/checkouts, removed at the end. Whoever makes one removes what a killed
    worker has left: a lock that nobody holds says that its owner is gone."""
    home = env.ensure_home() / "checkouts"
    home.mkdir(mode=0o700, exist_ok=True)
    with _alone(home):  # so that nobody takes a folder for left over before it has its lock
        for left in home.iterdir():
            if left.is_dir() and not _is_held(left):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=home)).resolve()
        lock = (folder / LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """The same for one run of a tool, where the system keeps what is temporary. Others may write there too: only a
    folder of ours goes, once it is so old that whoever made it would hold its lock."""
    for left in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        with suppress(OSError):
            about = left.lstat()
            ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid()
            if ours and about.st_mtime < time.time() - LEFT_OVER and not _is_held(left):
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as folder, (Path(folder) / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(folder).resolve()


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    with (home / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_held(folder: Path) -> bool:
    try:
        with (folder / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def check_size(folder: Path) -> None:
    """BadTarget where what lies in `folder` is more than a checkout may be."""
    files = size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            files += 1
            try:
                size += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # gone since
                continue
    refuse_beyond(files, size)


def refuse_beyond(files: int, size: int) -> None:
    """BadTarget beyond either limit; `size` in bytes."""
    if size > settings.CHECKOUT_MAX * 1_000_000:
        raise BadTarget(
            f"It holds more than {settings.CHECKOUT_MAX} MB, the most that is unpacked (OPSSIGHT_CHECKOUT_MAX)."
        )
    if files > MOST_FILES:
        raise BadTarget(f"It holds more than {MOST_FILES} files, the most that is unpacked.")


def is_listed(host: str) -> bool:
    """Whether an operator lists it, as it is written. Looks up no name."""
    allowed = settings.OUTGOING_ALLOW
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower() in allowed.hosts
    return any(address in network for network in allowed.networks)


def judged(host: str, port: int, *, what: str) -> str:
    """The first address of `host`, where each of them may be called. BadTarget otherwise."""
    try:
        addresses = outgoing.resolve(host, port)
        for address in addresses:
            outgoing.judge(host, address, settings.OUTGOING_ALLOW)
    except outgoing.OutgoingError as refused:
        raise BadTarget(f"{refused}.") from None
    except (OSError, UnicodeError):
        raise BadTarget(f"{host} has no address, so the {what} can't be reached.") from None
    return addresses[0]
