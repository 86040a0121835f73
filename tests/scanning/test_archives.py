"""Uploaded archives and container images, as people and as attackers pack them."""

import gzip
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection

from opssight.settings import env
from rbac.services import create_unit, root_unit
from scanning import inventory, services
from scanning.models import Asset, Finding, Scan, ScanState
from scanning.sources import archives, base
from scanning.sources.base import BadTarget
from tests.scanning.sources_registry import configured

BAD = b"import subprocess\n\n\ndef ship(name):\n    subprocess.call(name, shell=True)\n"


@pytest.fixture(autouse=True)
def tools(have) -> None:
    have("bandit")


def zipped(files: dict[str, bytes], **more) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, **more) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tarred(files: dict[str, bytes], mode: str = "w:gz", entries: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for entry in entries:
            archive.addfile(entry)
    return packed.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def archive_asset(kind: str = "archive", name: str = "shop", **more) -> Asset:
    return inventory.create_asset(name=name, kind=kind, unit=root_unit(), location="", **more)


def sent(api, asset: Asset, content: bytes, name: str = "shop.zip"):
    return api.post(f"/api/v1/assets/{asset.uid}/upload", {"file": SimpleUploadedFile(name, content)})


def scanned(asset: Asset, scanner: str = "bandit") -> Scan:
    scan = services.request_scan(asset, scanner=scanner, dispatch=False)
    services.run_scan(scan.pk)
    scan.refresh_from_db()
    assert not [place for place in (env.HOME / "checkouts").glob("*") if place.is_dir()]
    return scan


def kept() -> list[Path]:
    return sorted((env.HOME / "uploads").glob("*"))


def test_an_upload_is_scanned_and_the_next_one_is_the_same_asset(olga, client_for):
    api, asset = client_for(olga, step_up=True), archive_asset()
    first = zipped({"shop-1.0/shop/pay.py": BAD})
    answer = sent(api, asset, first)
    assert (answer.status_code, answer.json()["upload_digest"]) == (200, hashlib.sha256(first).hexdigest())
    scan = scanned(asset)
    assert (scan.state, scan.new, scan.revision) == (ScanState.COMPLETED, 2, hashlib.sha256(first).hexdigest())
    assert set(Finding.objects.values_list("path", flat=True)) == {"shop/pay.py"}
    assert stat.S_IMODE(kept()[0].stat().st_mode) == 0o600
    with_more = tarred({"shop-1.1/shop/pay.py": BAD, "shop-1.1/setup.py": b"x = 1\n"})
    assert sent(api, asset, with_more, "shop-1.1.tar.gz").status_code == 200
    again = scanned(asset)
    assert (again.new, again.same, again.fixed) == (0, 2, 0)
    assert Asset.objects.get().upload_name == "shop-1.1.tar.gz"


def test_the_one_before_is_removed_once_another_counts(db, olga, django_capture_on_commit_callbacks):
    asset = archive_asset()
    for content in (zipped({"a.py": BAD}), zipped({"b.py": BAD})):
        with django_capture_on_commit_callbacks(execute=True):
            inventory.upload(Asset.objects.get(), io.BytesIO(content), name="x.zip", by=olga)
    assert len(kept()) == 1
    assert kept()[0].read_bytes() == content
    assert asset.uid.hex in kept()[0].name


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_compression_of_tar_is_read(db, olga, mode):
    inventory.upload(archive_asset(), io.BytesIO(tarred({"a.py": BAD}, mode)), name="x", by=olga)
    assert scanned(Asset.objects.get()).new == 2


# --- attacks --------------------------------------------------------------------------------------------------------


def bomb() -> bytes:
    """A gigabyte of nothing as a tar.gz of a megabyte."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("zeros")
        entry.size = 50_000_000
        archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    return packed.getvalue()


def huge_header() -> bytes:
    """A pax header that says it is a gigabyte long."""
    entry = tarfile.TarInfo("pax")
    entry.type, entry.size = tarfile.XHDTYPE, 1 << 30
    return gzip.compress(entry.tobuf(tarfile.USTAR_FORMAT) + bytes(10_000))


def encrypted() -> bytes:
    packed = bytearray(zipped({"a.py": BAD}))
    packed[6] |= 1
    packed[packed.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(packed)


def many() -> bytes:
    return zipped({f"{number}.txt": b"" for number in range(60)})


HOSTILE = {
    "up": (zipped({"a.py": BAD, "../../evil.py": BAD}), "outside"),
    "deep up": (tarred({"a/../../evil.py": BAD}), "outside"),
    "absolute": (tarred({"/tmp/evil.py": BAD}), "outside"),
    "windows": (zipped({"C:\\evil.py": BAD}), "outside"),
    "backslashes": (zipped({"..\\evil.py": BAD}), "outside"),
    "control": (tarred({"a\nb.py": BAD}), "a name that is none"),
    "too deep": (tarred({"a/" * 70 + "b.py": BAD}), "too deep"),
    "too long": (tarred({"a" * 300: BAD}), "too long"),
    "encrypted": (encrypted(), "encrypted"),
    "bomb": (bomb(), "more than 20 MB"),
    "zip bomb": (zipped({"zeros": bytes(50_000_000)}), "more than 20 MB"),
    "many": (many(), "more than 50 files"),
    "header": (huge_header(), "can't be read"),
    "cut off": (tarred({"a.py": os.urandom(100_000)})[:5_000], "can't be read"),
    "cut off zip": (zipped({"a.py": BAD})[:-30], "can't be read"),
    "nothing": (tarred({}), "holds no file"),
    "only links": (tarred({}, entries=(special("x", tarfile.SYMTYPE, "/etc/passwd"),)), "holds no file"),
    "damaged": (zipped({"a.py": BAD}).replace(b"a.py", b"b.py", 1), "can't be read"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_fail_with_a_sentence_and_leave_nothing(db, olga, tmp_path, settings, monkeypatch, what):
    content, says = HOSTILE[what]
    settings.CHECKOUT_MAX = 20
    monkeypatch.setattr(base, "MOST_FILES", 50)
    (tmp_path / "x.zip").write_bytes(content)
    before = set(Path("/tmp").glob("evil.py"))
    with pytest.raises(BadTarget, match=says):
        archives.unpack(tmp_path / "x.zip", tmp_path / "out")
    inside = {path for path in tmp_path.rglob("*") if not path.is_dir()} - {tmp_path / "x.zip"}
    assert all(path.is_relative_to(tmp_path / "out") for path in inside)
    assert set(Path("/tmp").glob("evil.py")) == before
    asset = inventory.asset_at(tmp_path / "x.zip")
    scan = scanned(asset)
    assert (scan.state, scan.total) == (ScanState.FAILED, 0)
    assert scan.reason


def test_links_and_devices_are_left_out_and_nested_archives_stay_closed(tmp_path):
    entries = (
        special("link.py", tarfile.SYMTYPE, "/etc/passwd"), special("hard.py", tarfile.LNKTYPE, "../../x"),
        special("pipe", tarfile.FIFOTYPE), special("null", tarfile.CHRTYPE), special("up", tarfile.SYMTYPE, ".."),
    )  # fmt: skip
    # What goes through a link that came before it would land outside.
    (tmp_path / "x").write_bytes(tarred({"a.py": BAD, "inner.zip": zipped({"b.py": BAD})}, entries=entries))
    root = archives.unpack(tmp_path / "x", tmp_path / "out")
    assert sorted(path.name for path in root.rglob("*")) == ["a.py", "inner.zip"]
    assert stat.S_IMODE((root / "a.py").stat().st_mode) == 0o600


def test_names_in_other_encodings_come_out_and_do_not_stop_the_scan(db, olga):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", encoding="latin-1") as archive:
        entry = tarfile.TarInfo("caf\xe9.py")
        entry.size = len(BAD)
        archive.addfile(entry, io.BytesIO(BAD))
    inventory.upload(archive_asset(), io.BytesIO(packed.getvalue()), name="x.tar", by=olga)
    assert scanned(Asset.objects.get()).new == 2


@pytest.mark.parametrize(
    ("content", "status"), [(b"no archive", 400), (b"", 400), (b"PK\x03\x04", 200), (b"\x1f\x8b rubbish", 400)]
)
def test_what_is_no_archive_is_refused_at_the_door_and_not_kept(olga, client_for, content, status):
    asset = archive_asset()
    answer = sent(client_for(olga, step_up=True), asset, content)
    assert answer.status_code == status, answer.content
    assert len(kept()) == (status == 200)


def test_too_large_an_upload_is_refused_and_not_kept(olga, client_for, settings):
    settings.UPLOAD_MAX = 1
    answer = sent(client_for(olga, step_up=True), archive_asset(), zipped({"x": os.urandom(1_200_000)}))
    assert (answer.status_code, "more than 1 MB" in answer.json()["detail"]) == (413, True)
    answer = sent(client_for(olga, step_up=True), archive_asset(name="other"), zipped({"x": os.urandom(1_050_000)}))
    assert (answer.status_code, "OPSSIGHT_UPLOAD_MAX" in answer.json()["detail"]) == (400, True)
    assert not kept()


def test_only_who_may_change_the_asset_uploads(dev, olga, client_for):
    team = create_unit("Team", parent=root_unit())
    asset = inventory.create_asset(name="t", kind="archive", location="", unit=team)
    assert sent(client_for(dev), asset, zipped({"a.py": BAD})).status_code == 403
    folder = inventory.create_asset(name="f", kind="folder", location="/srv/f", unit=team)
    assert sent(client_for(olga, step_up=True), folder, zipped({"a.py": BAD})).status_code == 409
    assert not kept()


def test_an_inactive_asset_is_not_scanned(olga, client_for):
    asset = archive_asset(is_active=False)
    answer = client_for(olga, step_up=True).post(
        "/api/v1/scans", {"asset": str(asset.uid)}, content_type="application/json"
    )
    assert answer.status_code == 409
    assert not Scan.objects.exists()


@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="the threads of one process share SQLite's database in memory"
)
@pytest.mark.django_db(transaction=True)
def test_parallel_uploads_leave_one_file_which_the_row_names(olga):
    asset, wrong = archive_asset(), []

    def send(number: int) -> None:
        try:
            inventory.upload(asset, io.BytesIO(zipped({f"{number}.py": BAD})), name=f"{number}.zip", by=olga)
        except BaseException as error:
            wrong.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    asset.refresh_from_db()
    assert [place.name for place in kept()] == [f"{asset.uid.hex}-{asset.upload}"]
    assert hashlib.sha256(kept()[0].read_bytes()).hexdigest() == asset.upload_digest


def test_the_command_scans_a_file_and_strips_the_folder(db, tmp_path, capsys):
    (tmp_path / "shop.tgz").write_bytes(tarred({"shop-1/pay.py": BAD}))
    with pytest.raises(SystemExit) as end:
        call_command("scan", str(tmp_path / "shop.tgz"), "--json")
    told = json.loads(capsys.readouterr().out)
    assert (end.value.code, {f["path"] for f in told["findings"]}) == (1, {"pay.py"})
    assert Asset.objects.get().kind == "archive"


def test_a_process_killed_while_it_unpacks_leaves_a_folder_that_the_next_one_removes(tmp_path):
    code = (
        "import time\n"
        "with private_folder() as own:\n"
        "    (own / 'half').touch(); print(own, flush=True); time.sleep(60)\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "opssight.settings.test"}
    setup = (
        "import django; django.setup()\n"
        "from pathlib import Path\n"
        "from opssight.settings import env\n"
        f"env.HOME = Path({str(tmp_path)!r})\n"
        "from scanning.sources.base import private_folder\n"
    )
    process = subprocess.Popen([sys.executable, "-c", setup + code], env=environment, stdout=subprocess.PIPE, text=True)
    left = Path(process.stdout.readline().strip())
    looking = setup + "with private_folder(): pass\n"
    look = [sys.executable, "-c", looking]
    subprocess.run(look, env=environment, check=True)
    assert (left / "half").exists()  # its owner is at work
    process.kill()
    process.wait()
    process.stdout.close()
    subprocess.run(look, env=environment, check=True)
    assert not left.exists()


# --- images ---------------------------------------------------------------------------------------------------------


def image(files: dict[str, bytes]) -> bytes:
    """What `docker save` leaves: a manifest, a configuration and one layer."""
    layer = tarred(files, "w")
    digest, config = hashlib.sha256(layer).hexdigest(), configured(layer)
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": ["shop:1"], "Layers": [f"{digest}/layer.tar"]}]).encode()
    return tarred({f"{digest}/layer.tar": layer, name: config, "manifest.json": manifest}, "w")


@pytest.fixture
def trivy(have) -> None:
    have("trivy")


def test_no_other_tool_is_asked_for_an_image(db, olga):
    asset = archive_asset("image")
    assert services.fitting(asset) == ["trivy"]
    with pytest.raises(services.UnknownScanner, match="container image"):
        services.request_scan(asset, scanner="bandit")
    inventory.upload(asset, io.BytesIO(image({"app/a.txt": b"x"})), name="shop.tar", by=olga)
    scan = scanned(Asset.objects.get(), "trivy")
    assert scan.state in (ScanState.NOT_INSTALLED, ScanState.COMPLETED)


def test_an_image_is_no_archive_and_an_archive_no_image(db, olga):
    asset = archive_asset("image")
    with pytest.raises(inventory.Unusable, match="no container image"):
        inventory.upload(asset, io.BytesIO(tarred({"a": b"x"})), name="x", by=olga)
    other = inventory.create_asset(name="files", kind="archive", location="", unit=root_unit())
    with pytest.raises(inventory.Unusable, match="is a container image"):
        inventory.upload(other, io.BytesIO(image({"a": b"x"})), name="x", by=olga)


def test_an_image_is_scanned_for_secrets(db, olga, trivy):
    asset = archive_asset("image")
    secret = b"[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLQ\naws_secret_access_key = " + b"aB3d" * 10 + b"\n"
    inventory.upload(asset, io.BytesIO(image({"root/.aws/credentials": secret})), name="shop.tar", by=olga)
    scan = scanned(Asset.objects.get(), "trivy")
    assert (scan.state, scan.new > 0) == (ScanState.COMPLETED, True), scan.reason
    assert any("root/.aws/credentials" in path for path in Finding.objects.values_list("path", flat=True))
    inventory.upload(asset, io.BytesIO(image({"root/.aws/credentials": secret, "x": b"y"})), name="shop2.tar", by=olga)
    again = scanned(Asset.objects.get(), "trivy")
    assert (again.new, again.fixed) == (0, 0)


def test_a_broken_image_is_a_failure(db, tmp_path, trivy):
    packed = image({"a": b"x"})
    (tmp_path / "image.tar").write_bytes(packed[:3_000])
    asset = inventory.create_asset(name="i", kind="image", location=str(tmp_path / "image.tar"), unit=root_unit())
    scan = scanned(asset, "trivy")
    assert (scan.state, scan.reason != "") == (ScanState.FAILED, True)
