"""Repositories through the doors people use, cloned by the real git from real servers on loopback."""

import ipaddress
import json
import os
import subprocess
from pathlib import Path

import pytest
from django.core.management import call_command

from audit.models import AuditEntry
from opssight.settings import env
from opssight.settings.env import Outside
from rbac.services import root_unit
from scanning import inventory, services
from scanning.models import Asset, Finding, Scan, ScanState
from scanning.sources import git as source
from scanning.sources.base import BadTarget
from tests.scanning.sources_git import Server, bare, commit, git

BAD = "import subprocess\n\n\ndef ship(name):\n    subprocess.call(name, shell=True)\n"
PASSWORD = "glpat-5Zh0q8s3cr3tT0ken"


@pytest.fixture(autouse=True)
def tools(have) -> None:
    have("bandit")


@pytest.fixture
def tree(tmp_path) -> Path:
    commit(tmp_path / "tree", shop__pay_py=BAD)
    return tmp_path / "tree"


@pytest.fixture
def folder(tmp_path, tree, settings) -> Path:
    settings.GIT_FOLDERS = [str(tmp_path / "served")]
    bare(tree, tmp_path / "served" / "shop.git")
    return tmp_path / "served"


@pytest.fixture
def server(folder, settings):
    settings.OUTGOING_ALLOW = Outside(frozenset(), (ipaddress.ip_network("127.0.0.0/8"),))
    servers: list[Server] = []

    def start(password: str = PASSWORD, **more) -> Server:
        servers.append(Server(folder, password, **more))
        return servers[-1]

    yield start
    for one in servers:
        one.stop()


def scanned(asset: Asset) -> Scan:
    scan = services.request_scan(asset, dispatch=False)
    services.run_scan(scan.pk)
    scan.refresh_from_db()
    assert not [place for place in (env.HOME / "checkouts").iterdir() if place.is_dir()]
    return scan


def repository(location: str, **more) -> Asset:
    return inventory.create_asset(name="shop", kind="git", location=location, unit=root_unit(), **more)


def test_a_repository_is_scanned_at_its_newest_commit_and_findings_stay_the_same(db, tree, folder):
    asset = repository(f"file://{folder}/shop.git")
    first = scanned(asset)
    assert (first.state, first.new, first.revision) == (ScanState.COMPLETED, 2, git(tree, "rev-parse", "HEAD"))
    assert set(Finding.objects.values_list("path", flat=True)) == {"shop/pay.py"}
    later = commit(tree, README="hello")
    git(folder / "shop.git", "fetch", "-q", str(tree), "main:main")
    again = scanned(asset)
    assert (again.revision, again.new, again.same, again.fixed) == (later, 0, 2, 0)


def test_a_branch_or_tag_is_taken_where_it_is_named(db, tree, folder):
    git(tree, "tag", "v1")
    commit(tree, shop__pay_py="print('mended')\n")
    git(folder / "shop.git", "fetch", "-q", str(tree), "main:main", "v1:refs/tags/v1")
    asset = repository(f"file://{folder}/shop.git", branch="v1")
    assert scanned(asset).new == 2
    inventory.change_asset(asset, branch="main")
    assert scanned(asset).fixed == 2
    inventory.change_asset(asset, branch="nowhere")
    scan = scanned(asset)
    assert (scan.state, "nowhere" in scan.reason) == (ScanState.FAILED, True)


def test_credentials_open_it_and_are_told_nowhere(olga, server, client_for, monkeypatch):
    running, api = server(), client_for(olga, step_up=True)
    sent = {
        "name": "shop", "kind": "git", "location": f"{running.url}/shop.git", "unit": str(root_unit().uid),
        "username": "dev", "secret": PASSWORD,
    }  # fmt: skip
    answer = api.post("/api/v1/assets", sent, content_type="application/json")
    assert answer.status_code == 201, answer.content
    assert (answer.json()["has_secret"], "secret" in answer.json()) == (True, False)
    asset = Asset.objects.get()
    seen = []
    real = subprocess.Popen

    def watched(command, *args, **more):
        seen.append(f"{command} {more.get('env')}")
        return real(command, *args, **more)

    monkeypatch.setattr(subprocess, "Popen", watched)
    scan = scanned(asset)
    assert (scan.state, scan.new) == (ScanState.COMPLETED, 2), scan.reason
    assert seen and PASSWORD not in str(seen)
    assert PASSWORD not in asset.secret_encrypted
    assert PASSWORD not in str(list(AuditEntry.objects.values()))
    for page in (f"/api/v1/assets/{asset.uid}", f"/admin/scanning/asset/{asset.pk}/change/", f"/scans/{scan.uid}"):
        assert PASSWORD not in api.get(page).content.decode()
    asset.secret = "wrong-one-77"
    asset.save()
    failed = scanned(asset)
    assert failed.state == ScanState.FAILED
    assert "could not be cloned" in failed.reason and "wrong-one-77" not in failed.reason
    assert Finding.objects.unresolved().count() == 2


def test_another_address_does_not_get_the_secret(db, server):
    asset = repository(f"{server().url}/shop.git", username="dev", secret=PASSWORD)
    inventory.change_asset(asset, name="renamed")
    assert asset.has_secret
    inventory.change_asset(asset, location="https://evil.example/shop.git")
    assert not Asset.objects.get().has_secret
    inventory.change_asset(asset, secret="new")
    inventory.change_asset(asset, secret="")
    assert not Asset.objects.get().has_secret


def test_a_redirect_is_not_followed(db, server):
    other = server(password="")
    running = server(password="", redirect=other.url)
    scan = scanned(repository(f"{running.url}/shop.git"))
    assert scan.state == ScanState.FAILED
    assert running.asked and not other.asked


def test_an_address_inside_the_house_is_not_called(db, server, settings):
    running = server()
    asset = repository(f"{running.url}/shop.git")
    settings.OUTGOING_ALLOW = Outside(frozenset({"localhost"}), ())
    Asset.objects.get()
    asset.location = asset.location.replace("http://127.0.0.1", "https://127.0.0.1")
    asset.save()
    scan = scanned(asset)
    assert scan.state == ScanState.FAILED
    assert "OPSSIGHT_OUTGOING_ALLOW" in scan.reason
    assert not running.asked


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c 'touch /tmp/owned'", "ext::sh", "fd::17", "--upload-pack=touch", "-u", "git@host.example:shop.git",
        "https://dev:secret@host.example/shop.git", "https://dev@host.example/shop.git", "https://-oProxyCommand=x/y",
        "ssh://-oProxyCommand=touch/x", "ssh://git@host.example/x", "http://host.example/x", "https://host.example",
        "https://host.example/x?y", "https://host.example/x#y", "https://host.example:99999/x",
        "https://host.example/a b", "file:///etc", "file://host/etc", "file:///srv/../etc/x",
        "https://ho\\st.example/x", "HTTPS:/x", "ftp://h/x",
        "", "https://host.example\n/x", "https:///x", "transport::https://host.example/x",
    ],
)  # fmt: skip
def test_hostile_addresses_are_refused_with_a_sentence(olga, client_for, url):
    sent = {"name": "x", "kind": "git", "location": url, "unit": str(root_unit().uid)}
    answer = client_for(olga, step_up=True).post("/api/v1/assets", sent, content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert not Asset.objects.exists()
    with pytest.raises(BadTarget):
        source.check_address(url)


def test_plain_http_is_taken_to_a_listed_name_alone(settings):
    settings.OUTGOING_ALLOW = Outside(frozenset({"git.corp.example"}), ())
    assert source.check_address("http://git.corp.example/shop.git").hostname == "git.corp.example"
    for other in ("http://other.corp.example/shop.git", "http://10.0.0.1/shop.git"):
        with pytest.raises(BadTarget, match="plain http"):
            source.check_address(other)


@pytest.mark.parametrize("branch", ["--upload-pack=x", "-b", "a..b", "a b", "x.lock", "a:b", "$(id)", "@{u}"])
def test_hostile_branches_are_refused(branch):
    with pytest.raises(BadTarget):
        source.check_address("https://host.example/x", branch)


def test_nothing_of_a_repository_is_run_or_followed(db, tree, folder, tmp_path):
    """Hooks, filters, submodules and links of a hostile repository, in one."""
    owned = tmp_path / "owned"
    hook = folder / "shop.git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {owned}\n")
    hook.chmod(0o755)
    (tree / ".gitattributes").write_text("*.py filter=evil\n")
    (tree / ".gitmodules").write_text(f'[submodule "s"]\n\tpath = s\n\turl = file://{folder}/shop.git\n')
    (tree / "leak.py").symlink_to("/etc/passwd")
    (tree / "up").symlink_to("..")
    git(tree, "config", "filter.evil.smudge", f"touch {owned}")
    commit(tree)
    git(folder / "shop.git", "fetch", "-q", str(tree), "main:main")
    scan = scanned(repository(f"file://{folder}/shop.git"))
    assert scan.files_read >= 1, scan.reason
    assert not owned.exists()
    assert "root:" not in str(list(Finding.objects.values_list("code", flat=True)))


def test_objects_borrowed_from_elsewhere_are_refused(db, tree, folder):
    (folder / "shop.git" / "objects" / "info" / "alternates").write_text(f"{tree}/.git/objects\n")
    with pytest.raises(inventory.UnknownPlace, match="alternates"):
        repository(f"file://{folder}/shop.git")


def test_a_link_does_not_lead_out_of_the_listed_folders(db, tree, folder):
    (folder / "out.git").symlink_to(tree / ".git")
    with pytest.raises(inventory.UnknownPlace, match="OPSSIGHT_GIT_FOLDERS"):
        repository(f"file://{folder}/out.git")


def test_too_large_too_slow_or_empty_is_a_failure_that_closes_nothing(db, tree, folder, settings):
    asset = repository(f"file://{folder}/shop.git")
    scanned(asset)
    (tree / "big.bin").write_bytes(os.urandom(3_000_000))
    commit(tree)
    git(folder / "shop.git", "fetch", "-q", str(tree), "main:main")
    settings.CHECKOUT_MAX = 2
    assert "more than 2 MB" in scanned(asset).reason
    settings.CHECKOUT_MAX = 2000
    with pytest.raises(BadTarget, match="in time"):
        own = folder / "own"
        own.mkdir()
        source.clone(source.Repository(asset.location), own / "tree", own, deadline=0.0, alive=lambda: None)
    git(folder, "init", "-q", "--bare", str(folder / "empty.git"))
    inventory.change_asset(asset, location=f"file://{folder}/empty.git")
    assert scanned(asset).state == ScanState.FAILED
    assert Finding.objects.unresolved().count() == 2


def test_what_no_tool_reads_is_said_and_the_tool_is_not_in_use(db, tree, folder, capsys):
    git(tree, "rm", "-q", "-r", "shop")
    commit(tree, README="hello")
    git(folder / "shop.git", "fetch", "-q", str(tree), "main:main")
    with pytest.raises(SystemExit) as end:
        call_command("scan", f"file://{folder}/shop.git", "--json")
    told = json.loads(capsys.readouterr().out)["scanners"][0]
    assert (end.value.code, told["state"]) == (3, "does_not_fit")
    from django.utils import timezone

    assert not Scan.objects.newest_ended(at=timezone.now())


def test_a_killed_worker_leaves_nothing_for_long(db, tree, folder):
    left = env.ensure_home() / "checkouts" / "tmpdead"
    (left / "tree").mkdir(parents=True)
    (left / ".lock").touch()
    (left / "tree" / "x").touch()
    scanned(repository(f"file://{folder}/shop.git"))
    assert not left.exists()
