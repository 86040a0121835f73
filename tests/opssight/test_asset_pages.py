"""The pages of assets: what they say of each state, to whom, and at what cost."""

import pytest
from django.http import HttpResponse
from django.utils import timezone

from accounts.models import User
from audit.models import AuditEntry
from rbac.services import assign_role, create_unit, root_unit
from scanning.models import Asset, Scan, ScanState, Severity
from scanning.services import request_scans
from tests.conftest import make_person
from tests.opssight.test_console import full, make_asset, make_findings, make_scan, text  # noqa: F401  (a fixture)

pytestmark = pytest.mark.django_db


@pytest.fixture
def officer(olga, client_for):
    return client_for(olga, step_up=True)


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize(
    ("name", "says", "never_says"),
    [
        ("payments", "Finished Finished bandit < 1 min ago 2 Critical 1 High 0 3 Low 6 open", "not known"),
        ("website", "Run failed Run failed bandit < 1 min ago — — — — not known", " 0 "),
        ("mailer", "Not installed Not installed bandit < 1 min ago — — — — not known", " 0 "),
        ("archive", "Stale, 9 d Stale, 9 d bandit", " 0 "),
        ("router", "Clean Clean bandit < 1 min ago 0 0 0 0 0", "not known"),
        ("label-printer", "Never run none — — — — not known", " 0 "),
    ],
)
def test_the_list_confuses_no_state_with_another(officer, name, says, never_says):
    rows = officer.get("/assets").content.decode().split("<tr>")
    row = next(row for row in rows if f">{name}</a>" in row)
    shown = text(HttpResponse(row.partition("</tr>")[0]))
    assert says in shown
    assert never_says not in shown


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("standing=never", {"label-printer"}),
        ("standing=failed", {"website"}),
        ("standing=not_installed", {"mailer"}),
        ("standing=stale", {"archive"}),
        ("standing=clean", {"router"}),
        ("standing=never&standing=clean", {"router", "label-printer"}),
        ("q=pay", {"payments"}),
        ("q=/srv/web", {"website"}),
        ("kind=installation", set()),
    ],
)
def test_it_narrows(officer, query, names):
    page = officer.get(f"/assets?{query}")
    shown = {asset.name for asset in Asset.objects.all() if f">{asset.name}</a>" in page.content.decode()}
    assert shown == names


@pytest.mark.parametrize("query", ["standing=fine", "kind=planet", "unit=x"])
def test_a_filter_that_is_not_understood_shows_nothing(officer, query):
    assert officer.get(f"/assets?{query}").status_code == 404


def test_one_tool_that_failed_is_not_hidden_by_another_that_is_clean(officer):
    asset = make_asset()
    make_scan(asset, files_read=3)
    make_scan(asset, ScanState.FAILED, reason="No rules.")
    put_scanner(asset, "semgrep")
    assert "Run failed" in text(officer.get("/assets"))
    for query, found in (("standing=clean", False), ("standing=failed", True)):
        assert (f">{asset.name}</a>" in officer.get(f"/assets?{query}").content.decode()) == found
    page = text(officer.get(f"/assets/{asset.uid}"))
    assert "bandit Clean" in page
    assert "semgrep Run failed No rules." in page


def put_scanner(asset: Asset, name: str) -> None:
    run = asset.scans.latest("pk")
    run.scanner = name
    run.save()


def test_an_undone_run_is_no_standing(officer):
    asset = make_asset()
    make_scan(asset, ScanState.UNDONE)
    assert "Never run" in text(officer.get("/assets?standing=never"))
    assert "Undone" in text(officer.get("/scans"))
    assert "Taken back." in text(officer.get(f"/scans/{Scan.objects.get().uid}"))


def test_the_page_tells_the_tools_the_severities_and_links_to_exactly_those(officer, full):  # noqa: F811
    asset = full["asset"]
    page = officer.get(f"/assets/{asset.uid}").content.decode()
    assert f"/findings?asset={asset.uid}&amp;severity=critical" in page
    for tool in ("bandit", "semgrep", "trivy"):
        assert tool in page
    assert "resource_type=scanning.asset" in page
    assert "2 of 2" in text(officer.get(f"/findings?asset={asset.uid}&severity=critical"))


def test_pages_cost_the_same_whatever_they_show(officer, django_assert_max_num_queries):
    asset = make_asset()
    for address, most in ((f"/assets/{asset.uid}", 16), ("/assets", 13)):
        with django_assert_max_num_queries(most) as first:
            officer.get(address)
            cost = len(first)
        for n in range(4):
            other = make_asset(f"{address}{n}")
            make_findings(make_scan(other), 3, Severity.LOW)
            make_findings(make_scan(asset), 3, Severity.LOW)
        with django_assert_max_num_queries(cost):
            assert officer.get(address).status_code == 200


def test_who_may_not_see_or_do_is_told_so_or_offered_nothing(full, adam, client_for):  # noqa: F811
    asset = full["asset"]
    auditor = client_for(adam)
    page = auditor.get(f"/assets/{asset.uid}").content.decode()
    assert "Scan with every tool" not in page
    assert "/change" not in page
    assert auditor.get("/assets/new").status_code == 403
    assert auditor.get(f"/assets/{asset.uid}/change").status_code == 403
    assert auditor.post(f"/assets/{asset.uid}/scan").status_code == 403
    team = create_unit("Payments", parent=root_unit())
    outsider = User.objects.create(email="team@example.org")
    assign_role(outsider, "officer", unit=team, reason="test")
    client = client_for(outsider)
    for address in (f"/assets/{asset.uid}", f"/assets/{asset.uid}/change"):
        assert client.get(address).status_code == 404
    assert "No asset yet" in text(client.get("/assets"))


def test_a_folder_becomes_an_asset_and_is_changed(officer):
    unit = root_unit()
    given = {"name": "shop", "unit": str(unit.uid), "location": "/srv/shop"}
    for wrong, told in [
        ({"location": "shop"}, "absolute path"),
        ({"name": "shop\u202e"}, "is not allowed here"),
        ({"name": ""}, "required"),
        ({"unit": "01a20bd9-1d59-7949-b8ec-209801f0f979"}, "valid choice"),
        ({"kind": "installation"}, "Unknown field"),
    ]:
        answer = officer.post("/assets/new", given | wrong)
        assert (answer.status_code, told in text(answer)) == (400, True), wrong
    assert not Asset.objects.exists()
    made = officer.post("/assets/new", given)
    asset = Asset.objects.get()
    assert (made.status_code, made["Location"]) == (302, f"/assets/{asset.uid}")
    assert "exists" not in text(officer.post("/assets/new", given | {"name": "other"}))
    assert "is an asset of" in text(officer.post("/assets/new", given | {"name": "other"}))
    changed = officer.post(f"/assets/{asset.uid}/change", given | {"name": "the shop"})
    assert changed.status_code == 302
    asset.refresh_from_db()
    assert (asset.name, asset.location) == ("the shop", "/srv/shop")
    assert AuditEntry.objects.about(asset).count() >= 2


def test_an_asset_moves_only_where_one_may_create(client_for):
    here, there = create_unit("Here", parent=root_unit()), create_unit("There", parent=root_unit())
    asset = make_asset("shop", here)
    person = make_person("Ulla")
    assign_role(person, "officer", unit=here, reason="test")
    given = {"name": "shop", "location": "/srv/shop"}
    client = client_for(person)
    assert client.post(f"/assets/{asset.uid}/change", given | {"unit": str(there.uid)}).status_code == 400
    assert client.post(f"/assets/{asset.uid}/change", given | {"unit": str(here.uid)}).status_code == 302
    asset.refresh_from_db()
    assert asset.unit == here


def test_one_tool_or_every_one_is_asked_for_and_shown_together(officer, tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    asset = Asset.objects.create(name="shop", location=str(tmp_path), unit=root_unit())
    one = officer.post(f"/assets/{asset.uid}/scan", {"scanner": "semgrep"})
    assert one["Location"] == f"/scans/{asset.scans.get(scanner='semgrep').uid}"
    assert officer.post(f"/assets/{asset.uid}/scan", {"scanner": "nmap"}).status_code == 400
    runs = request_scans(asset, scanners=["bandit", "checkov"], dispatch=False)
    page = text(officer.get(f"/scans/{runs[0].uid}"))
    assert "0 of 2 tools settled" in page
    assert "checkov" in page
    for run in runs:
        run.state, run.finished_at = ScanState.FAILED, timezone.now()
        run.save()
    page = officer.get(f"/scans/{runs[0].uid}")
    assert "2 of 2 tools settled" in text(page)
    assert "every 2s" not in page.content.decode()
    assert "tools settled" not in text(officer.get(one["Location"]))
