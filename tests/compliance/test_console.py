"""The pages of the controls, as officer and auditor see them."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEntry
from compliance.checks import base
from compliance.checks.base import Evaluation, Row
from compliance.models import Framework, Result
from opssight.kernel.ids import new_uid
from rbac.models import Role, RoleEffect
from rbac.services import assign_role
from tests.compliance.factories import make_asset, make_finding, make_scan

NOW = timezone.now()


def text(answer) -> str:
    """What a reader sees, without tags and runs of space."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


@pytest.mark.parametrize("address", ["/compliance", "/compliance/vuln.cadence"])
def test_officer_and_auditor_read_and_the_others_are_refused(olga, adam, dev, eve, client_for, address):
    assert [client_for(person).get(address).status_code for person in (olga, adam, dev, eve)] == [200, 200, 403, 403]
    assert Client().get(address).status_code == 302


def test_only_who_may_evaluate_is_offered_it_and_may_do_it(olga, adam, client_for):
    for page, post in (
        ("/compliance", "/compliance/evaluate"),
        ("/compliance/vuln.cadence", "/compliance/vuln.cadence/evaluate"),
    ):
        assert f'action="{post}"' in client_for(olga).get(page).content.decode()
        assert "Evaluate now" not in client_for(adam).get(page).content.decode()
        assert client_for(adam).post(post).status_code == 403
        assert client_for(olga).get(post).status_code == 405
        assert not Result.objects.exists()
    assert client_for(olga).post("/compliance/vuln.cadence/evaluate")["Location"] == "/compliance/vuln.cadence"
    assert client_for(olga).post("/compliance/evaluate")["Location"] == "/compliance"
    assert Result.objects.count() == 4
    assert AuditEntry.objects.filter(event="controls:evaluated", actor_id=olga.pk).count() == 4


def test_a_form_without_its_token_is_refused(olga, client_for):
    client = client_for(olga)
    client.handler.enforce_csrf_checks = True
    assert client.post("/compliance/evaluate").status_code == 403
    assert not Result.objects.exists()


@pytest.mark.parametrize("key", ["vuln.nothing", "%00", "<script>", "evaluate", "01a20bd9-1d59-7949-b8ec-209801f0f979"])
def test_a_wrong_key_is_a_404(olga, client_for, key):
    client = client_for(olga)
    assert client.get(f"/compliance/{key}").status_code in (404, 405)
    assert client.post(f"/compliance/{key}/evaluate").status_code == 404


def test_the_list_tells_each_control_s_state_figures_and_requirements(adam, client_for, evaluate):
    make_asset("shop")
    evaluate("vuln.cadence")
    evaluate("vuln.sla.critical")
    page = client_for(adam).get("/compliance")
    assert [count for _, count in page.context["counts"]] == [0, 1, 0, 1, 0, 1]
    said = text(page)
    assert "Every asset was scanned in time vuln.cadence Not met 1 of 1 assets without a completed scan" in said
    assert "SOC 2 CC7.1 , CC7.4" in said
    assert "Never evaluated. Evaluate it now" in said


def test_filters_live_in_the_address_and_a_wrong_one_is_a_404(adam, client_for, evaluate):
    make_asset("shop")
    evaluate("vuln.cadence")
    client = client_for(adam)

    def keys(query: str) -> list[str]:
        return [line.reading.control.key for line in client.get(f"/compliance?{query}").context["lines"]]

    assert keys("state=fail") == ["vuln.cadence"]
    assert keys("state=never&state=fail") == ["iam.mfa.privileged", "vuln.cadence", "vuln.sla.critical"]
    assert keys("framework=gdpr&state=pass") == []
    assert client.get("/compliance?state=met").status_code == 404


def test_the_rows_behind_are_as_many_as_the_figures_say(olga, client_for, evaluate):
    for number in range(3):
        make_asset(f"late {number}")
    make_scan(make_asset("shop"))
    evaluate("vuln.cadence")
    page = client_for(olga).get("/compliance/vuln.cadence")
    rows = page.context["rows"]
    assert [one.row.name for one in rows] == ["late 0", "late 1", "late 2", "shop"]
    assert "3 of 4 failed" in text(page)
    assert all(client_for(olga).get(one.address).status_code == 200 for one in rows)


def test_a_failing_asset_leads_to_the_findings_that_failed_it(olga, client_for, evaluate):
    make_scan(shop := make_asset("shop"))
    make_finding(shop, due=NOW - timedelta(hours=1))
    make_finding(shop, due=NOW + timedelta(hours=9))
    evaluate("vuln.sla.critical")
    client = client_for(olga)
    (row,) = client.get("/compliance/vuln.sla.critical").context["rows"]
    assert client.get(row.address).context["total"] == 1


def test_accounts_are_linked_for_who_may_open_the_admin(olga, adam, client_for, evaluate):
    evaluate("iam.mfa.privileged")
    account = reverse("admin:accounts_user_change", args=[olga.pk])
    for reader, address in ((olga, account), (adam, "")):
        (row,) = client_for(reader).get("/compliance/iam.mfa.privileged").context["rows"]
        assert (row.row.name, row.address) == ("Olga", address)
    assert client_for(olga, step_up=True).get(account).status_code == 200


def test_the_admin_shows_and_evaluates_and_changes_nothing(olga, client_for, evaluate):
    result, client = evaluate("vuln.cadence"), client_for(olga, step_up=True)
    control = result.control
    page = client.get(reverse("admin:compliance_control_change", args=[control.pk])).content.decode()
    assert f'href="/compliance/{control.uid}"' in page
    assert client.get(f"/compliance/{control.uid}").status_code == 200
    assert client.get(reverse("admin:compliance_result_change", args=[result.pk])).status_code == 200
    for model, row in (("control", control), ("result", result), ("framework", Framework.objects.first())):
        change = client.post(reverse(f"admin:compliance_{model}_change", args=[row.pk]), {"title": "x"})
        delete = client.post(reverse(f"admin:compliance_{model}_delete", args=[row.pk]), {"post": "yes"})
        add = client.get(reverse(f"admin:compliance_{model}_add"))
        assert [answer.status_code for answer in (change, delete, add)] == [403, 403, 403]
    data = {"action": "evaluate", "_selected_action": [control.pk], "index": "0"}
    client.post(reverse("admin:compliance_control_changelist"), data)
    assert control.results.count() == 2


def test_without_results_read_the_state_is_told_and_the_rows_are_not(eve, client_for, evaluate):
    make_asset("secret project")
    evaluate("vuln.cadence")
    role = Role.objects.create(key="board", name="Board")
    RoleEffect.objects.create(role=role, permission="controls:read", via=role)
    assign_role(eve, "board", reason="test")
    page = client_for(eve).get("/compliance/vuln.cadence")
    assert "Not met" in text(page)
    assert "secret project" not in text(page)
    result = Result.objects.get()
    assert client_for(eve).get(f"/compliance/vuln.cadence?result={result.uid}").status_code == 404


def test_an_earlier_result_shows_its_own_rows_and_the_present_state(adam, client_for, evaluate):
    shop = make_asset("shop")
    first = evaluate("vuln.cadence")
    make_scan(shop)
    evaluate("vuln.cadence")
    client = client_for(adam)
    page = client.get(f"/compliance/vuln.cadence?result={first.uid}")
    assert page.context["reading"].kind == "pass"
    assert [(one.row.row.failed, one.row.row.detail) for one in page.context["rows"]] == [(True, "Never scanned.")]
    assert "as it was found then" in text(page)
    other = evaluate("iam.mfa.privileged")
    for wrong in (other.uid, new_uid(), "nothing"):
        assert client.get(f"/compliance/vuln.cadence?result={wrong}").status_code == 404


def test_every_kind_of_state_is_drawn_by_a_shape_and_words_of_its_own(adam, client_for, evaluate, monkeypatch):
    client, seen = client_for(adam), {}

    def look(kind: str) -> None:
        page = client.get("/compliance/vuln.cadence")
        assert page.context["reading"].kind == kind
        badge = re.search(r'<span class="badge [a-z]+">(<svg.*?</svg>)([^<]+)</span>', page.content.decode())
        seen[badge[1]] = badge[2]

    look("never")
    found = {
        "pass": Evaluation([Row("scanning.asset", new_uid(), False, "x", "x")], "x"),
        "fail": Evaluation([Row("scanning.asset", new_uid(), True, "x", "x")], "x"),
        "unknown": base.unknown("x"),
    }
    for kind, evaluation in found.items():
        monkeypatch.setitem(base.registry, "vuln.cadence", lambda params, at, evaluation=evaluation: evaluation)
        evaluate("vuln.cadence")
        look(kind)
    monkeypatch.delitem(base.registry, "vuln.cadence")
    evaluate("vuln.cadence")
    look("error")
    monkeypatch.setitem(base.registry, "vuln.cadence", lambda params, at: found["pass"])
    evaluate("vuln.cadence", at=NOW - timedelta(hours=27))
    look("stale")
    assert sorted(seen.values()) == ["Met", "Never evaluated", "Not met", "Stale", "Test failed", "Unknown"]


def test_many_rows_come_in_pages_failing_first_and_each_once(adam, client_for, evaluate):
    for number in range(120):
        asset = make_asset(f"asset {number:03}")
        if number % 2:
            make_scan(asset)
    result = evaluate("vuln.cadence")
    client, address, seen = client_for(adam), "/compliance/vuln.cadence", []
    while address:
        page = client.get(address)
        seen += [(one.row.row.failed, one.row.name) for one in page.context["rows"]]
        address = page.context["older"] and f"/compliance/vuln.cadence{page.context['older']}"
    assert len(seen) == len(set(seen)) == result.population == 120
    assert [failed for failed, _ in seen] == [True] * 60 + [False] * 60
    assert "60 of 120 failed" in text(client.get(f"/compliance/vuln.cadence?result={result.uid}"))


def test_history_goes_back_as_far_as_there_are_results(adam, client_for, evaluate):
    made = [evaluate("vuln.cadence").uid for _ in range(50)]
    client, address, seen = client_for(adam), "/compliance/vuln.cadence", []
    while address:
        page = client.get(address)
        seen += [result.uid for result in page.context["history"]]
        older = page.context["older_result"]
        address = older and f"/compliance/vuln.cadence?result={older.uid}"
    assert seen == made[::-1]


def test_names_from_outside_are_shown_as_text(adam, client_for, evaluate):
    make_asset("<script>alert(1)</script>")
    evaluate("vuln.cadence")
    evaluate("vuln.sla.critical")
    for address in ("/compliance", "/compliance/vuln.cadence", "/compliance/vuln.sla.critical"):
        assert b"<script>alert" not in client_for(adam).get(address).content


def test_pages_hold_their_query_count(adam, client_for, evaluate):
    client, counts = client_for(adam), []
    for number in range(3):
        make_asset(f"asset {number}")
        for key in ("vuln.cadence", "vuln.sla.critical", "iam.mfa.privileged"):
            evaluate(key)
        for address in ("/compliance", "/compliance/vuln.cadence"):
            with CaptureQueriesContext(connection) as queries:
                assert client.get(address).status_code == 200
            counts.append(len(queries))
    assert counts[2:4] == counts[4:6]
    assert max(counts) <= 19


def test_compliance_stands_in_the_rail_for_who_may_open_it(adam, eve, client_for):
    for reader, shown in ((adam, True), (eve, False)):
        page = client_for(reader).get("/my-security").content.decode()
        assert ('href="/compliance"' in page) is shown
