"""Container images in a registry: a real trivy pulls them from a tiny registry on loopback."""

import io
import ipaddress
import json
import os
import subprocess
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditEntry
from opssight.kernel import outgoing
from opssight.settings import env
from opssight.settings.env import Outside
from rbac.services import root_unit
from scanning import inventory, services
from scanning.models import Asset, Finding, Scan, ScanState
from scanning.sources import images
from scanning.sources.base import BadTarget
from tests.scanning.sources_registry import Registry, problem

CREDENTIALS = b"[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLQ\naws_secret_access_key = " + b"aB3d" * 10 + b"\n"
LEAKING = {"root/.aws/credentials": CREDENTIALS}
PASSWORD = "regpw-9f8E7d6C"
DIGEST = "sha256:" + "0a" * 32


@pytest.fixture
def pulls(settings) -> None:
    settings.IMAGE_PULLS = True
    settings.OUTGOING_ALLOW = Outside(frozenset(), (ipaddress.ip_network("127.0.0.0/8"),))


@pytest.fixture
def registry(have, pulls):
    have("trivy")
    running: list[Registry] = []

    def start(password: str = "") -> Registry:
        running.append(Registry(password))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def referred(location: str, **more) -> Asset:
    return inventory.create_asset(name="shop", kind="image", location=location, unit=root_unit(), **more)


def scanned(asset: Asset) -> Scan:
    scan = services.request_scan(asset, scanner="trivy", dispatch=False)
    services.run_scan(scan.pk)
    scan.refresh_from_db()
    assert not [place for place in (env.HOME / "checkouts").glob("*") if place.is_dir()]
    return scan


def failed(asset: Asset, *words: str) -> Scan:
    """It says nothing of the image: what was open stays open."""
    before = set(Finding.objects.unresolved().values_list("pk", flat=True))
    scan = scanned(asset)
    assert (scan.state, scan.fixed, scan.total) == (ScanState.FAILED, 0, 0), scan.reason
    assert all(word in scan.reason for word in words), scan.reason
    assert set(Finding.objects.unresolved().values_list("pk", flat=True)) == before
    return scan


# --- pulling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [False, True], ids=["one image", "an index of platforms"])
def test_an_image_is_pulled_and_findings_do_not_hang_on_its_tag(db, registry, index):
    running = registry()
    first = running.push("1.2", LEAKING, index=index)
    asset = referred(f"{running.host}/team/app:1.2")
    scan = scanned(asset)
    assert (scan.state, scan.reason, scan.new > 0, scan.files_read) == (ScanState.COMPLETED, "", True, 1)
    assert scan.revision == first.removeprefix("sha256:")
    assert set(Finding.objects.values_list("path", flat=True)) == {"root/.aws/credentials"}
    second = running.push("1.3", {**LEAKING, "x": b"y"}, index=index)
    for location in (f"{running.host}/team/app:1.3", f"{running.host}/team/app@{second}"):
        inventory.change_asset(asset, location=location)
        again = scanned(asset)
        assert (again.new, again.same, again.fixed) == (0, scan.new, 0)
        assert again.revision == second.removeprefix("sha256:")
    running.push("2", {"x": b"y"}, index=index)
    inventory.change_asset(asset, location=f"{running.host}/team/app:2")
    mended = scanned(asset)
    assert (mended.fixed, Finding.objects.unresolved().exists()) == (scan.new, False)


def test_name_and_secret_open_a_registry_and_are_told_nowhere(olga, registry, client_for, monkeypatch):
    running, api = registry(PASSWORD), client_for(olga, step_up=True)
    running.push("1", LEAKING)
    sent = {
        "name": "shop", "kind": "image", "location": f"{running.host}/team/app:1", "unit": str(root_unit().uid),
        "username": "dev", "secret": PASSWORD,
    }  # fmt: skip
    answer = api.post("/api/v1/assets", sent, content_type="application/json")
    assert answer.status_code == 201, answer.content
    assert (answer.json()["has_secret"], "secret" in answer.json()) == (True, False)
    asset, commands, environments = Asset.objects.get(), [], []
    real = subprocess.Popen

    def watched(command, *args, **more):
        commands.append(str(command))
        environments.append(more.get("env") or {})
        return real(command, *args, **more)

    monkeypatch.setattr(subprocess, "Popen", watched)
    good = scanned(asset)
    assert (good.state, good.new > 0) == (ScanState.COMPLETED, True), good.reason
    assert [given["TRIVY_PASSWORD"] for given in environments if "TRIVY_PASSWORD" in given] == [PASSWORD]
    assert PASSWORD not in str(commands)
    assert PASSWORD not in os.environ.values()
    running.password = "another-one"  # the registry answers with what it was sent
    bad = failed(asset, "name and secret are wrong")
    assert "UNAUTHORIZED: you sent Basic …" in bad.log
    inventory.change_asset(asset, secret="")
    inventory.change_asset(asset, username="")
    failed(asset, "name and secret are wrong, missing")
    basic = "ZGV2OnJlZ3B3LTlmOEU3ZDZD"
    everything = [
        *Asset.objects.values(), *Scan.objects.values(), *Finding.objects.values(), *AuditEntry.objects.values(),
        api.get(f"/api/v1/assets/{asset.uid}").content, api.get(f"/admin/scanning/asset/{asset.pk}/change/").content,
        *(api.get(f"/scans/{scan.uid}").content for scan in (good, bad)),
    ]  # fmt: skip
    assert not [told for told in everything if PASSWORD in str(told) or basic in str(told)]


def test_another_reference_does_not_get_the_secret(db, pulls):
    asset = referred("registry.example/team/app:1", username="dev", secret=PASSWORD)
    inventory.change_asset(asset, location="evil.example/team/app:1")
    assert not Asset.objects.get().has_secret


@pytest.mark.parametrize(
    ("username", "secret", "says"),
    [
        ("dev", "", "together"), ("", PASSWORD, "together"), ("dev", "a,b", "commas"), ("dev", "a b", "commas"),
        ("de v", "a", "commas"), ("dev", "a\u200bb", "commas"),
    ],
)  # fmt: skip
def test_what_trivy_would_take_apart_is_not_sent(db, registry, username, secret, says):
    running = registry()
    running.push("1", LEAKING)
    failed(referred(f"{running.host}/team/app:1", username=username, secret=secret), says)
    assert not running.asked


def test_a_failing_pull_closes_nothing(db, registry, settings):
    running = registry()
    running.push("1", LEAKING)
    asset = referred(f"{running.host}/team/app:1")
    assert scanned(asset).new
    inventory.change_asset(asset, location=f"{running.host}/team/app:none")
    failed(asset, "no such image, tag or digest")
    inventory.change_asset(asset, location=f"{running.host}/team/app@{DIGEST}")
    failed(asset, "no such image, tag or digest")
    running.push("big", {"x": os.urandom(2_500_000)})
    inventory.change_asset(asset, location=f"{running.host}/team/app:big")
    settings.CHECKOUT_MAX = 2
    failed(asset, "more than 2 MB", "OPSSIGHT_CHECKOUT_MAX")
    settings.CHECKOUT_MAX = 2000
    inventory.change_asset(asset, location=f"{running.host}/team/app:1")
    for path in [path for path in running.asked if "/manifests/1" in path][:1]:
        running.answers[path] = 429, {}, problem("TOOMANYREQUESTS", "slow down")
    failed(asset, "too many requests")
    running.answers.clear()
    for digest, layer in running.blobs.items():
        running.blobs[digest] = layer[:-1] + b"!"
    running.push("2", {"x": b"other"})
    failed(asset)
    running.stop()
    failed(asset, "nobody answers")
    assert Finding.objects.unresolved().exists()


def test_a_registry_that_keeps_trivy_waiting_is_timed_out(db, registry, settings):
    running = registry()
    running.push("1", LEAKING)
    asset = referred(f"{running.host}/team/app:1")
    first = scanned(asset)
    settings.SCAN_TIMEOUT = timedelta(seconds=2)
    running.answering.clear()
    scan = scanned(asset)
    assert (scan.state, scan.fixed) == (ScanState.TIMED_OUT, 0)
    assert Finding.objects.unresolved().count() == first.new


def test_the_command_pulls_it(db, registry, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    running = registry()
    running.push("1", LEAKING)
    reference = f"{running.host}/team/app:1"
    with pytest.raises(SystemExit) as end:
        call_command("scan", reference, "--json")
    told = json.loads(capsys.readouterr().out)
    assert (end.value.code, told["scanners"][0]["state"]) == (1, "completed")
    assert (told["asset"]["name"], told["asset"]["location"]) == ("app:1", reference)
    assert Asset.objects.get().kind == Asset.Kind.IMAGE


# --- what is taken --------------------------------------------------------------------------------------------------


def test_nothing_is_pulled_unless_the_operator_allows_it(olga, registry, client_for, settings):
    running, api = registry(), client_for(olga, step_up=True)
    running.push("1", LEAKING)
    sent = {"name": "x", "kind": "image", "location": f"{running.host}/app:1", "unit": str(root_unit().uid)}
    settings.IMAGE_PULLS = False
    answer = api.post("/api/v1/assets", sent, content_type="application/json")
    assert (answer.status_code, "OPSSIGHT_IMAGE_PULLS" in answer.json()["detail"]) == (400, True)
    with pytest.raises((CommandError, inventory.UnknownPlace)):
        call_command("scan", sent["location"])
    settings.IMAGE_PULLS = True
    assert api.post("/api/v1/assets", sent, content_type="application/json").status_code == 201
    settings.IMAGE_PULLS = False
    failed(Asset.objects.get(), "OPSSIGHT_IMAGE_PULLS")
    assert not running.asked


def test_a_registry_inside_the_house_must_be_listed(db, registry, settings, monkeypatch):
    running = registry()
    running.push("1", LEAKING)
    asset = referred(f"{running.host}/app:1")
    settings.OUTGOING_ALLOW = Outside(frozenset(), ())
    failed(asset, "OPSSIGHT_OUTGOING_ALLOW")
    inventory.change_asset(asset, location="registry.example/app:1")
    monkeypatch.setattr(outgoing, "resolve", lambda host, port: ["93.184.216.34", "169.254.169.254"])
    failed(asset, "registry.example leads to 169.254.169.254")
    inventory.change_asset(asset, location="docker.io/library/alpine:3.20")
    failed(asset, "index.docker.io leads to")
    assert not running.asked


@pytest.mark.parametrize("name", ["registry.local", "registry.local:5000", "shop.localhost", "SHOP.LOCAL"])
def test_what_trivy_asks_by_plain_http_must_be_listed_by_name(db, pulls, settings, name):
    with pytest.raises(inventory.UnknownPlace, match="plain http"):
        referred(f"{name}/app:1")
    settings.OUTGOING_ALLOW = Outside(frozenset({name.lower().partition(":")[0]}), ())
    referred(f"{name}/app:1")


@pytest.mark.parametrize(
    ("reference", "host", "port"),
    [
        ("registry.example/team/app:1.2", "registry.example", 443), ("registry.example/app", "registry.example", 443),
        (f"registry.example:5000/a__b/c-d@{DIGEST}", "registry.example", 5000),
        (f"ghcr.io/a/b/c.d:v1_2@{DIGEST}", "ghcr.io", 443), ("localhost/app", "localhost", 443),
        ("docker.io/library/alpine:3.20", "index.docker.io", 443), ("10.0.0.1:80/app:1", "10.0.0.1", 80),
        ("REG.example/app:Tag", "reg.example", 443),
    ],
)  # fmt: skip
def test_references_that_are_taken(pulls, reference, host, port):
    assert images.is_reference(reference)
    assert images.check_reference(reference) == (host, port)


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("alpine", "docker.io/library/alpine "), ("alpine:3.20", "docker.io/library/alpine:3.20 "),
        ("team/app:1", "docker.io/team/app:1 "), ("https://registry.example/app:1", "no https://"),
        ("docker://registry.example/a", "no https://"), ("registry.example/App:1", "no reference"),
        ("registry.example/app:1:2", "no reference"), ("registry.example/app@sha256:abc", "no reference"),
        (f"registry.example/app@sha512:{'0' * 128}", "no reference"), ("registry.example/", "no reference"),
        ("registry.example//a", "no reference"), ("registry.example/../a", "no reference"), ("./image.tar", "no refer"),
        ("dev:secret@registry.example/a", "no reference"), ("registry.example/a b", "no reference"),
        ("registry.example/a\n", "no reference"), ("registry.example/app:1\n--debug", "no reference"),
        ("--config=/etc/passwd", "no reference"), ("-o/tmp/x", "no reference"), ("-h.example/a", "no reference"),
        ("registry.example/-a", "no reference"), ("registry.example/a?x", "no reference"), ("reg\\x.y/a", "no refer"),
        ("registry.example:99999/app", "no port"), ("registry.example:0/app", "no port"), ("[::1]:5000/a", "no refer"),
        ("r\u00e9gistry.example/a", "no reference"), (f"registry.example/{'a' * 300}", "no reference"),
        (f"registry.example/app:{'t' * 129}", "no reference"), ("$(id).example/a", "no reference"),
        ("registry.example/" + "a-" * 400 + "!", "no reference"), ("registry.example/app@", "no reference"),
        ("registry.example/a:1", "too short"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_a_sentence(olga, client_for, pulls, location, says):
    with pytest.raises(BadTarget, match=says):
        images.check_reference(location)
    sent = {"name": "x", "kind": "image", "location": location, "unit": str(root_unit().uid)}
    answer = client_for(olga, step_up=True).post("/api/v1/assets", sent, content_type="application/json")
    if not location.endswith("\n"):  # which the API takes off
        assert answer.status_code == 400, answer.content
        assert not Asset.objects.exists()


def test_a_file_stays_a_file(olga, tmp_path, pulls, monkeypatch):
    with pytest.raises(inventory.UnknownPlace, match="name and a secret"):
        referred(str(tmp_path / "image.tar"), username="dev")
    with pytest.raises(inventory.UnknownPlace, match="branch"):
        referred("registry.example/app:1", branch="main")
    asset = referred("registry.example/app:1")
    with pytest.raises(inventory.NotUploaded):
        inventory.upload(asset, io.BytesIO(b"x"), name="x", by=olga)
    (tmp_path / "my.code").mkdir()
    (tmp_path / "my.code" / "shop").mkdir()
    monkeypatch.chdir(tmp_path)
    assert inventory.asset_at("my.code/shop").kind == Asset.Kind.FOLDER


def test_the_admin_takes_a_reference_and_refuses_what_is_none(olga, client_for, pulls):
    client = client_for(olga, step_up=True)
    form = {
        "name": "shop", "kind": "image", "location": "registry.example/team/app:1", "unit": root_unit().pk,
        "is_active": "on", "branch": "", "username": "dev", "secret": PASSWORD,
    }  # fmt: skip
    refused = client.post("/admin/scanning/asset/add/", {**form, "location": "alpine"}, follow=True)
    assert "docker.io/library/alpine" in refused.content.decode()
    assert not Asset.objects.exists()
    assert client.post("/admin/scanning/asset/add/", form).status_code == 302
    asset = Asset.objects.get()
    assert (asset.location, asset.secret) == (form["location"], PASSWORD)
