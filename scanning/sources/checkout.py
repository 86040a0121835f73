"""Bringing the files of an asset to where a tool can read them, for as long as its scan lasts."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from opssight.kernel.crypto import Undecryptable
from scanning.models import Asset
from scanning.sources import archives, git, images, uploads
from scanning.sources.base import BadTarget, private_folder
from scanning.targets import Place, place_of

IMAGE = "image.tar"  # the same name each time: trivy names findings after it


def check_asset(asset: Asset) -> None:
    """BadTarget where an asset of its kind can't be at its location."""
    if asset.kind == Asset.Kind.GIT:
        git.check_address(asset.location, asset.branch)
        if "\n" in asset.username or "\0" in asset.username:
            raise BadTarget("The name for the repository is one line.", field="username")
        return
    if asset.branch:
        raise BadTarget("Only a git repository has a branch.")
    if is_pulled(asset):
        images.check_reference(asset.location)
        return
    if asset.username or asset.has_secret:
        raise BadTarget("Only a git repository or an image in a registry has a name and a secret.")
    needs_place = asset.kind == Asset.Kind.FOLDER or bool(asset.location)
    if asset.kind != Asset.Kind.INSTALLATION and needs_place and not Path(asset.location).is_absolute():
        raise BadTarget("location must be an absolute path on the server, such as /srv/code/shop.")


def is_pulled(asset: Asset) -> bool:
    """Whether it is an image in a registry, and not in a file."""
    return asset.kind == Asset.Kind.IMAGE and asset.location != "" and not Path(asset.location).is_absolute()


@contextmanager
def checkout(asset: Asset, *, deadline: float, alive: Callable[[], None]) -> Iterator[Place]:
    """The place of the asset's files; what was brought there for it is gone at the end. BadTarget where it can't be.

    `deadline` is a time.monotonic() value; `alive` is called now and then, and ends the work by what it raises.
    """
    if asset.kind in (Asset.Kind.FOLDER, Asset.Kind.INSTALLATION):
        yield place_of(asset)
        return
    with private_folder() as own:
        if asset.kind == Asset.Kind.GIT:
            check_asset(asset)
            repository = git.Repository(asset.location, asset.branch, asset.username, _secret(asset))
            commit = git.clone(repository, own / "tree", own, deadline=deadline, alive=alive)
            yield Place([own / "tree"], asset.location, revision=commit)
            return
        if is_pulled(asset):
            pull = images.to_pull(asset.location, asset.username, _secret(asset))
            yield Place([own], asset.location, pull=pull)
            return
        file = _file(asset)
        digest = _digest(file, alive)
        if asset.kind == Asset.Kind.ARCHIVE:
            yield Place([archives.unpack(file, own / "tree", alive=alive)], _shown(asset), revision=digest)
            return
        (own / "image").mkdir()
        with suppress(OSError):
            os.link(file, own / "image" / IMAGE)  # so that the next upload does not take it away from under the tool
        if not (own / "image" / IMAGE).exists():
            (own / "image" / IMAGE).symlink_to(file)
        yield Place([own / "image"], _shown(asset), revision=digest)


def _secret(asset: Asset) -> str:
    try:
        return asset.secret if asset.has_secret else ""
    except Undecryptable:
        raise BadTarget("Its secret can't be decrypted with the keys in OPSSIGHT_FIELD_KEYS. Give it anew.") from None


def _shown(asset: Asset) -> str:
    return asset.upload_name or asset.location


def _file(asset: Asset) -> Path:
    asset.refresh_from_db(fields=["upload", "location"])
    if asset.location:
        file = Path(asset.location)
        if not file.is_file() or not os.access(file, os.R_OK):
            raise BadTarget(f"{file} is no file that can be read. Nothing was closed.")
        return file
    if not asset.upload:
        raise BadTarget("Nothing was uploaded for it yet.")
    file = uploads.path_of(asset.uid, asset.upload)
    if not file.exists():
        raise BadTarget(
            "The uploaded file is not on this machine, or was replaced just now. Upload it again, or scan again."
        )
    return file


def _digest(file: Path, alive: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
            alive()
    return digest.hexdigest()
