"""Files that people upload for an asset: one each, under $OPSSIGHT_HOME/uploads, readable by OpsSight alone."""

import hashlib
import os
import time
import uuid
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from opssight.settings import env
from scanning.sources.base import BadTarget

CHUNK = 1 << 20
LEFT_OVER = 3600  # seconds after which a file that no row names was left by somebody who died


def folder() -> Path:
    place = env.ensure_home() / "uploads"
    place.mkdir(mode=0o700, exist_ok=True)
    return place


def path_of(asset_uid: uuid.UUID, token: str) -> Path:
    return folder() / f"{asset_uid.hex}-{token}"


def store(asset_uid: uuid.UUID, file: BinaryIO) -> tuple[str, str]:
    """Keep a copy: its token, and SHA-256 in hex. It counts once the row names the token. BadTarget where it is too
    large or empty."""
    token, digest, size = uuid.uuid4().hex, hashlib.sha256(), 0
    place = path_of(asset_uid, token)
    try:
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as kept:
            while chunk := file.read(CHUNK):
                size += len(chunk)
                if size > settings.UPLOAD_MAX * 1_000_000:
                    raise BadTarget(f"The file has more than {settings.UPLOAD_MAX} MB (OPSSIGHT_UPLOAD_MAX).")
                digest.update(chunk)
                kept.write(chunk)
        if not size:
            raise BadTarget("The file is empty.")
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    return token, digest.hexdigest()


def forget(asset_uid: uuid.UUID, token: str, *, but: str) -> None:
    """Remove what was replaced, and what somebody who died on the way has left."""
    if token and token != but:
        path_of(asset_uid, token).unlink(missing_ok=True)
    for left in folder().glob(f"{asset_uid.hex}-*"):
        try:
            if left != path_of(asset_uid, but) and left.stat().st_mtime < time.time() - LEFT_OVER:
                left.unlink()
        except FileNotFoundError:
            continue
