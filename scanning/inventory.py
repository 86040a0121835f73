"""The inventory: assets, what they are read from, and the files that stand for them."""

from pathlib import Path
from typing import Any, BinaryIO

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from opssight.kernel.access import check, decide
from opssight.kernel.errors import Refusal
from rbac.models import Unit
from rbac.services import root_unit
from scanning import events, findings
from scanning.models import Asset
from scanning.sources import archives, images, uploads
from scanning.sources.base import BadTarget
from scanning.sources.checkout import check_asset


class WrongField(Refusal):
    """Something about one `field` of an asset."""

    def __init__(self, detail: str, *, field: str = "location") -> None:
        super().__init__(detail)
        self.field = field


class AssetExists(WrongField):
    status = 409


class UnknownPlace(WrongField):
    status = 400


class Unusable(Refusal):
    status = 400


class NotUploaded(Refusal):
    status = 409


def asset_at(target: str | Path, *, unit: Unit | None = None) -> Asset:
    """The asset of a folder, of a file (an archive or container image), of a repository's address or of an image's
    reference, made on first use. Its name is the last part of where it is, or all of that where the name is taken.
    UnknownPlace where it can't be."""
    unit = unit or root_unit()
    if "://" in str(target):
        kind, location = Asset.Kind.GIT, str(target)
    elif images.is_reference(str(target)) and not Path(target).exists():
        kind, location = Asset.Kind.IMAGE, str(target)
    else:
        location = str(Path(target).expanduser().resolve()).encode("utf-8", "replace").decode()
        kind = _kind_of(Path(location))
    found = Asset.objects.filter(unit=unit, kind=kind, location=location).first()
    if found:
        return found
    name = Path(location).name or location
    if Asset.objects.filter(unit=unit, name=name).exists():
        name = location[-200:]
    asset = Asset(unit=unit, kind=kind, location=location, name=name)
    _check(asset)
    asset.save()  # a folder's name is what it is, odd characters and all
    return asset


def _kind_of(path: Path) -> Asset.Kind:
    """A file that is no archive is taken for a folder, whose scan then says that it is none."""
    try:
        if not path.is_file() or not archives.is_archive(path):
            return Asset.Kind.FOLDER
        return Asset.Kind.IMAGE if archives.is_image(path) else Asset.Kind.ARCHIVE
    except (BadTarget, OSError):
        return Asset.Kind.ARCHIVE


def installation_asset() -> Asset:
    """OpsSight's own source and the packages it runs on."""
    return Asset.objects.get_or_create(
        unit=root_unit(), kind=Asset.Kind.INSTALLATION, location="", defaults={"name": "This OpsSight"}
    )[0]


def units_for_new_assets(user: Any) -> QuerySet[Unit]:
    """Where `user` may create assets, of the units in sight."""
    visible = Unit.objects.permitted(user, "units:read")
    allowed = [unit.pk for unit in visible if decide(user, "assets:create", Asset(unit=unit)).allowed]
    return visible.filter(pk__in=allowed)


@transaction.atomic
def create_asset(*, secret: str = "", by: Any = None, **values: Any) -> Asset:
    """Something to scan. AssetExists where name or location is taken in the unit; UnknownPlace where it can't be."""
    return save_asset(Asset(**values), secret=secret, by=by)


@transaction.atomic
def change_asset(asset: Asset, *, secret: str | None = None, by: Any = None, **values: Any) -> Asset:
    """`secret` replaces the one that is kept; "" takes it away."""
    if values.get("kind", asset.kind) != asset.kind:
        raise UnknownPlace("kind can't be changed: findings are about what it was. Make another asset.", field="kind")
    for name, value in values.items():
        setattr(asset, name, value)
    return save_asset(asset, secret=secret, by=by)


def save_asset(asset: Asset, *, secret: str | None, by: Any) -> Asset:
    """A secret belongs to one address: another address takes it away, unless it is given again. Whoever moves an asset
    to another unit must be allowed to create it there."""
    before = Asset.objects.filter(pk=asset.pk).first() if asset.pk else None
    if by is not None:
        is_moved = before is None or before.unit_id != asset.unit_id
        check(by, "assets:create" if is_moved else "assets:update", asset)
    if secret:
        if "\n" in secret.strip() and not asset.location.startswith("ssh://"):
            raise UnknownPlace("A password or token is one line; only a private key for ssh has more.", field="secret")
        asset.secret = secret
    elif secret == "" or (before and (before.location, before.username) != (asset.location, asset.username)):
        asset.secret_encrypted = ""
    return _save_asset(asset)


def _save_asset(asset: Asset) -> Asset:
    _check(asset)
    others = Asset.objects.filter(unit=asset.unit).exclude(pk=asset.pk)
    if others.filter(name=asset.name).exists():
        raise AssetExists(f"There is an asset {asset.name} in {asset.unit} already.", field="name")
    if asset.location and others.filter(kind=asset.kind, location=asset.location).exists():
        raise AssetExists(f"{asset.location} is an asset of {asset.unit} already.")
    asset.full_clean()
    asset.save()
    return asset


def _check(asset: Asset) -> None:
    try:
        check_asset(asset)
    except BadTarget as error:
        raise UnknownPlace(str(error), field=error.field) from None


def upload(asset: Asset, file: BinaryIO, *, name: str, by: Any) -> Asset:
    """Keep a file as what the asset is from now on; the one before it goes. Unusable where it can't be scanned."""
    check(by, "assets:update", asset)
    if asset.kind not in Asset.FILES or asset.location:
        raise NotUploaded(f"{asset} is read from where it lies, so nothing can be uploaded for it.")
    try:
        token, digest = uploads.store(asset.uid, file)
        place = uploads.path_of(asset.uid, token)
        try:
            _check_upload(asset, place)
        except BaseException:
            place.unlink(missing_ok=True)
            raise
    except BadTarget as error:
        raise Unusable(str(error)) from None
    with transaction.atomic():
        asset = Asset.objects.select_for_update().get(pk=asset.pk)
        before, asset.upload = asset.upload, token
        asset.upload_name, asset.upload_digest = findings.storable(Path(name).name)[-200:], digest
        asset.uploaded_at = timezone.now()
        asset.save()
        events.ASSET_UPLOADED.emit(target=asset, name=asset.upload_name, digest=digest)
        transaction.on_commit(lambda: uploads.forget(asset.uid, before, but=token))
    return asset


def _check_upload(asset: Asset, place: Path) -> None:
    if not archives.is_archive(place):
        raise BadTarget("The file is no zip or tar.")
    if archives.is_image(place) != (asset.kind == Asset.Kind.IMAGE):
        wanted = "no container image as docker save makes it" if asset.kind == Asset.Kind.IMAGE else "a container image"
        raise BadTarget(f"The file is {wanted}.")
