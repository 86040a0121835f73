"""A tool that an asset does without: it counts for nothing there until somebody asks for it again."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from accounts.models import User
from audit.models import AuditEntry
from rbac.services import assign_role, create_unit, root_unit
from scanning import retired
from scanning.imports.services import import_report
from scanning.models import Asset, Finding, RetiredTool, Scan, ScanState, Severity
from scanning.scanners import base
from scanning.schedules.models import Schedule
from scanning.schedules.services import run_due, save_schedule
from scanning.services import NothingInUse, request_scan, request_scans
from tests.browser.stage import report
from tests.conftest import put
from tests.opssight.test_console import make_asset, make_findings, make_scan, text

pytestmark = pytest.mark.django_db
JSON = "application/json"


@pytest.fixture
def officer(olga, client_for):
    return client_for(olga, step_up=True)


@pytest.fixture
def shop() -> Asset:
    """Clean by one tool; another was there once and is not any more."""
    asset = make_asset("shop")
    make_findings(make_scan(asset, ScanState.NOT_INSTALLED, scanner="semgrep"), 2, Severity.HIGH, scanner="semgrep")
    make_scan(asset, files_read=3)
    return asset


def state_of(client, tool: str) -> tuple[str, str]:
    (row,) = client.get("/api/v1/assets/coverage").json()["results"]
    return next((cell["state"], cell["reason"]) for cell in row["tools"] if cell["scanner"] == tool)


def retire(client, asset: Asset, tool: str, reason: str = "We use bandit."):
    return client.post(f"/assets/{asset.uid}/retire-tool?tool={tool}", {"reason": reason})


def test_it_is_left_out_of_the_standing_and_closes_nothing(officer, olga, shop):
    assert "semgrep Not installed" in text(officer.get(f"/assets/{shop.uid}"))
    assert "2 open findings of it stay open" in text(officer.get(f"/assets/{shop.uid}/retire-tool?tool=semgrep"))
    assert retire(officer, shop, "semgrep").status_code == 302
    page = text(officer.get(f"/assets/{shop.uid}"))
    assert "semgrep Not used We use bandit." in page
    assert "not known of every tool" not in page
    assert "Not installed" not in text(officer.get("/assets"))
    assert state_of(officer, "semgrep") == ("not_used", "We use bandit.")
    assert "Not used We use bandit." in text(officer.get("/coverage"))
    assert Finding.objects.unresolved().count() == 2
    row = RetiredTool.objects.get()
    assert (row.retired_by, row.reason) == (olga, "We use bandit.")
    assert AuditEntry.objects.about(shop).filter(event="assets:tool_retired").latest("id").actor == olga
    assert [run.scanner for run in Scan.objects.newest_ended(at=timezone.now())] == ["bandit"]


def test_what_stood_before_it_was_said_stands(shop, olga):
    retired.retire(shop, "semgrep", reason="x", by=olga)
    put(RetiredTool.objects.all(), retired_at=timezone.now() + timedelta(hours=1))
    assert {run.scanner for run in Scan.objects.newest_ended(at=timezone.now())} == {"bandit", "semgrep"}


def test_an_asset_without_any_tool_is_never_run_and_not_clean(officer, olga, shop):
    for tool in ("bandit", "semgrep"):
        retired.retire(shop, tool, reason="x", by=olga)
    for address in ("/assets", "/assets?standing=never"):
        assert "Never run" in text(officer.get(address))
    assert "Not shown" not in text(officer.get("/assets"))
    assert "bandit Not used" in text(officer.get(f"/assets/{shop.uid}"))
    assert "Clean" not in text(officer.get("/"))


def test_a_scan_that_somebody_asks_for_puts_it_to_use_again(officer, olga, shop):
    retired.retire(shop, "semgrep", reason="x", by=olga)
    officer.post(f"/assets/{shop.uid}/scan", {"scanner": "semgrep"})
    assert not RetiredTool.objects.exists()
    assert state_of(officer, "semgrep") == ("running", "")
    assert AuditEntry.objects.about(shop).filter(event="assets:tool_returned").latest("id").actor == olga


def test_an_imported_report_puts_it_to_use_again_and_a_trial_does_not(olga, shop):
    import_report(shop, report(("HTTP", "low")), name="first.json")
    retired.retire(shop, "our-linter", reason="x", by=olga)
    import_report(shop, report(("HTTP", "low")), name="second.json", dry_run=True)
    assert RetiredTool.objects.exists()
    import_report(shop, report(("HTTP", "low")), name="second.json")
    assert not RetiredTool.objects.exists()


def test_neither_every_tool_nor_a_schedule_means_it(officer, olga, tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    asset = Asset.objects.create(name="shop", location=str(tmp_path), unit=root_unit())
    request_scan(asset, scanner="bandit")
    retired.retire(asset, "bandit", reason="x", by=olga)
    assert "bandit" not in {run.scanner for run in Scan.objects.filter(batch__in=_all(asset))}
    for scanner in ("", "bandit"):
        save_schedule(Schedule(asset=asset, scanner=scanner), by=olga)
    Scan.objects.all().delete()
    put(Schedule.objects.all(), next_at=timezone.now())
    assert run_due() == 2
    assert not Scan.objects.filter(scanner="bandit").exists()
    assert RetiredTool.objects.exists()
    for tool in base.tools_for(asset.kind):
        if tool != "bandit":
            retired.retire(asset, tool, reason="x", by=olga)
    with pytest.raises(NothingInUse, match="Name the tool"):
        request_scans(asset, by=olga)
    assert "Name the tool" in text(officer.post(f"/assets/{asset.uid}/scan"))
    put(Schedule.objects.all(), next_at=timezone.now())
    assert run_due() == 2


def _all(asset: Asset) -> set[UUID | None]:
    try:
        return {run.batch for run in request_scans(asset)}
    except NothingInUse:  # where no other tool is installed
        return set()


def test_it_is_said_and_taken_back_by_the_api(officer, shop):
    address = f"/api/v1/assets/{shop.uid}"
    said = {"scanner": "semgrep", "reason": "We use bandit."}
    for wrong, status in [
        ({"reason": ""}, 400), ({"reason": " "}, 400), ({"scanner": "nonsense"}, 409), ({"scanner": "\u202ex"}, 400),
        ({"more": 1}, 400),
    ]:  # fmt: skip
        assert officer.post(f"{address}/retire-tool", said | wrong, content_type=JSON).status_code == status, wrong
    assert officer.post(f"{address}/retire-tool", said, content_type=JSON).status_code == 204
    assert officer.post(f"{address}/retire-tool", said, content_type=JSON).status_code == 409
    back = {"scanner": "semgrep"}
    assert officer.post(f"{address}/return-tool", back, content_type=JSON).status_code == 204
    assert officer.post(f"{address}/return-tool", back, content_type=JSON).status_code == 409
    assert state_of(officer, "semgrep") == ("not_installed", "")


def test_the_page_refuses_what_the_api_does(officer, shop):
    assert officer.get(f"/assets/{shop.uid}/retire-tool").status_code == 302
    assert "has never run" in text(retire(officer, shop, "nonsense"))
    assert "required" in text(retire(officer, shop, "semgrep", " "))
    assert retire(officer, shop, "semgrep").status_code == 302
    assert "already" in text(retire(officer, shop, "semgrep"))
    assert officer.post(f"/assets/{shop.uid}/return-tool", {"scanner": "semgrep"}).status_code == 302
    assert not RetiredTool.objects.exists()


def test_only_who_may_change_the_asset_says_so(dev, client_for, shop):
    team = create_unit("Team", parent=root_unit())
    person = User.objects.create(email="team@example.org")
    assign_role(person, "officer", unit=team, reason="test")
    for client, refused in ((client_for(person, step_up=True), 404), (client_for(dev), 403)):
        assert retire(client, shop, "semgrep").status_code == refused
        said = {"scanner": "semgrep", "reason": "x"}
        assert client.post(f"/api/v1/assets/{shop.uid}/retire-tool", said, content_type=JSON).status_code == refused
    assert "Not used here" not in text(client_for(dev).get(f"/assets/{shop.uid}"))
    assert not RetiredTool.objects.exists()
