"""Controls, results and frameworks over the API, and who gets them."""

import hashlib
import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.tokens.services import issue_token
from audit.models import AuditEntry
from compliance.checks import base
from compliance.checks.base import Evaluation, Row
from compliance.models import Control, Framework, Result
from opssight.kernel.ids import new_uid
from rbac.models import Role, RoleEffect
from rbac.services import assign_role, create_unit, root_unit
from tests.compliance.factories import make_asset, make_scan

API = "/api/v1"
READS = ["controls", "controls/vuln.cadence", "results", "frameworks"]


@pytest.mark.parametrize("path", READS)
def test_officer_and_auditor_read_and_the_others_are_refused(olga, adam, dev, eve, client_for, path):
    assert [client_for(person).get(f"{API}/{path}").status_code for person in (olga, adam, dev, eve)] == [
        200, 200, 403, 403,
    ]  # fmt: skip


def test_who_reads_does_not_evaluate_unless_the_role_says_so(olga, adam, eve, client_for):
    address = f"{API}/controls/vuln.cadence/evaluate"
    for person in (adam, eve):
        answer = client_for(person).post(address)
        assert (answer.status_code, answer.json()["missing_permission"]) == (403, "controls:evaluate")
    assert not Result.objects.exists()
    answer = client_for(olga).post(address)
    assert answer.status_code == 201
    assert (answer.json()["control"], answer.json()["state"]) == ("vuln.cadence", "unknown")
    entry = AuditEntry.objects.get(event="controls:evaluated")
    assert entry.actor_id == olga.pk


def test_controls_are_found_by_key_and_by_uid_and_nothing_else(adam, client_for):
    client, control = client_for(adam), Control.objects.get(key="vuln.cadence")
    by_key, by_uid = (client.get(f"{API}/controls/{name}") for name in (control.key, control.uid))
    assert by_key.json() == by_uid.json()
    for wrong in ("vuln.nothing", "VULN.CADENCE", "%00", "vuln%00", "'", "%F0%9F%92%A9", "x" * 5000, root_unit().uid):
        assert client.get(f"{API}/controls/{wrong}").status_code == 404, wrong


def test_a_control_tells_its_state_its_figures_and_what_it_contributes_to(adam, client_for, evaluate):
    make_asset("shop")
    result = evaluate("vuln.cadence")
    told = client_for(adam).get(f"{API}/controls/vuln.cadence").json()
    assert (told["state"], told["population"], told["failed"], told["result"]) == ("fail", 1, 1, str(result.uid))
    assert {(c["framework"], c["requirement"]) for c in told["contributes_to"]} == {
        ("soc2_tsc_2017", "CC7.1"), ("iso_27001_2022", "A.8.8"), ("gdpr", "32(1)(d)"),
    }  # fmt: skip
    never = client_for(adam).get(f"{API}/controls/iam.mfa.privileged").json()
    assert (never["state"], never["population"], never["evaluated_at"]) == ("unknown", None, None)


def test_an_old_pass_reads_as_unknown_and_keeps_what_was_found(adam, client_for, evaluate):
    make_scan(make_asset("shop"), ended=timezone.now() - timedelta(hours=28))
    result = evaluate("vuln.cadence", at=timezone.now() - timedelta(hours=27))
    client = client_for(adam)
    control = client.get(f"{API}/controls/vuln.cadence").json()
    assert control["state"] == "unknown"
    assert control["reason"].startswith("Stale: ")
    old = client.get(f"{API}/results/{result.uid}").json()
    assert (old["state"], old["recorded_state"]) == ("unknown", "pass")
    assert client.get(f"{API}/results").json()["results"][0]["state"] == "unknown"


def test_a_result_shows_its_whole_population_failing_rows_first(adam, client_for, evaluate):
    shop, new = make_asset("shop"), make_asset("new")
    make_scan(shop)
    result = evaluate("vuln.cadence")
    told = client_for(adam).get(f"{API}/results/{result.uid}").json()
    assert (told["population"], told["failed"]) == (len(told["rows"]), sum(row["failed"] for row in told["rows"]))
    assert [(row["uid"], row["label"], row["failed"]) for row in told["rows"]] == [
        (str(new.uid), "new", True), (str(shop.uid), "shop", False),
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["vuln.cadence", "iam.mfa.privileged"])
def test_the_digest_can_be_worked_out_from_the_answer_alone(olga, adam, client_for, evaluate, key):
    """As docs/auditor.md says, with nothing of ours."""
    make_scan(make_asset('Ünïcode \u2603 "quoted"'))
    make_asset("new")
    told = client_for(adam).get(f"{API}/results/{evaluate(key).uid}").json()
    rows = sorted([r["resource_type"], r["uid"], r["failed"], r["label"], r["detail"]] for r in told["rows"])
    text = json.dumps({"rows": rows}, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == told["digest"]
    entry = AuditEntry.objects.filter(event="controls:evaluated").latest("id")
    assert (entry.additional_data["result"], entry.additional_data["digest"]) == (told["uid"], told["digest"])


def test_people_are_named_only_to_who_may_see_accounts(olga, adam, eve, client_for, evaluate):
    result = evaluate("iam.mfa.privileged")
    role = Role.objects.create(key="evidence", name="Evidence reader")
    RoleEffect.objects.create(role=role, permission="results:read", via=role)
    assign_role(eve, "evidence", reason="test")
    names = [client_for(reader).get(f"{API}/results/{result.uid}").json()["rows"][0]["name"] for reader in (adam, eve)]
    assert names == ["Olga", str(olga.uid)]


def test_a_reader_of_one_team_sees_no_control_of_the_organisation(eve, client_for, evaluate):
    assign_role(eve, "auditor", reason="test", unit=create_unit("Team", parent=root_unit()))
    result = evaluate("vuln.cadence")
    for path in (*READS, f"results/{result.uid}"):
        assert client_for(eve).get(f"{API}/{path}").status_code == 403


def test_rows_of_a_kind_that_is_gone_keep_their_label(adam, client_for, evaluate, monkeypatch):
    rows = [Row("scanning.container", new_uid(), True, "found", "old container")]
    monkeypatch.setitem(base.registry, "vuln.cadence", lambda params, at: Evaluation(rows, "x"))
    result = evaluate("vuln.cadence")
    assert client_for(adam).get(f"{API}/results/{result.uid}").json()["rows"][0]["label"] == "old container"


def test_an_administrator_reads_and_an_officer_of_one_team_evaluates_nothing(eve, dev, client_for):
    assign_role(dev, "administrator", reason="test")
    assign_role(eve, "officer", reason="test", unit=create_unit("Team", parent=root_unit()))
    assert client_for(dev).get(f"{API}/controls").status_code == 200
    for person in (dev, eve):
        for address in (f"{API}/controls/vuln.cadence/evaluate", "/compliance/evaluate"):
            assert client_for(person).post(address).status_code == 403
    assert not Result.objects.exists()


def test_results_are_narrowed_to_a_control_and_a_wrong_one_is_refused(adam, client_for, evaluate):
    mine = evaluate("vuln.cadence")
    evaluate("iam.mfa.privileged")
    client = client_for(adam)
    for name in ("vuln.cadence", mine.control.uid):
        rows = client.get(f"{API}/results?control={name}").json()["results"]
        assert [row["uid"] for row in rows] == [str(mine.uid)]
    for wrong in ("control=nothing", "control=%00", "control=vuln.cadence&control=x", "state=pass", "since=yesterday"):
        assert client.get(f"{API}/results?{wrong}").status_code == 400, wrong
    assert len(client.get(f"{API}/results?recorded_state=unknown,error").json()["results"]) == 2
    assert client.get(f"{API}/results?recorded_state=pass").json()["results"] == []


def test_frameworks_list_their_requirements_and_the_controls_for_each(adam, client_for):
    client, gdpr = client_for(adam), Framework.objects.get(key="gdpr")
    told = client.get(f"{API}/frameworks/{gdpr.uid}").json()
    assert {r["ref"]: r["controls"] for r in told["requirements"]} == {
        "32(1)(b)": ["iam.mfa.privileged", "vuln.sla.critical"], "32(1)(d)": ["vuln.cadence"],
    }  # fmt: skip


def test_nothing_is_written_through_the_reading_addresses(olga, client_for, evaluate):
    client, result = client_for(olga), evaluate("vuln.cadence")
    for path in ("controls/vuln.cadence", f"results/{result.uid}", "results", "controls", "frameworks"):
        for method in ("post", "put", "patch", "delete"):
            assert getattr(client, method)(f"{API}/{path}").status_code in (403, 405), (method, path)
    assert Result.objects.count() == 1


def test_lists_hold_their_query_count(adam, client_for, evaluate):
    client = client_for(adam)
    client.get(f"{API}/controls")
    counts = []
    for _ in range(2):
        for key in ("vuln.cadence", "vuln.sla.critical", "iam.mfa.privileged"):
            evaluate(key)
        for path in ("controls", "results", "frameworks"):
            with CaptureQueriesContext(connection) as queries:
                assert client.get(f"{API}/{path}").status_code == 200
            counts.append(len(queries))
    assert counts[:3] == counts[3:]
    assert max(counts) <= 11


def test_a_repeated_request_evaluates_once(olga, client_for):
    client = client_for(olga)
    first, again = (
        client.post(f"{API}/controls/vuln.cadence/evaluate", headers={"idempotency-key": "build-1"}) for _ in range(2)
    )
    assert (first.json(), first["Location"]) == (again.json(), again["Location"])
    assert Result.objects.count() == 1
    assert client.get(first["Location"]).json()["digest"] == first.json()["digest"]


def test_a_version_and_a_part_of_a_control_can_be_asked_for(adam, client_for, evaluate):
    client, address = client_for(adam), f"{API}/controls/vuln.cadence"
    read = client.get(address)
    assert client.get(address, headers={"if-none-match": read["ETag"]}).status_code == 304
    evaluate("vuln.cadence")
    assert client.get(address, headers={"if-none-match": read["ETag"]}).status_code == 200
    assert client.get(f"{address}?fields=key,state").json() == {"key": "vuln.cadence", "state": "unknown"}
    assert client.get(f"{address}?fields=secret").status_code == 400


def test_a_token_shows_no_names_that_its_scopes_leave_out(olga, evaluate):
    result = evaluate("iam.mfa.privileged")
    for scopes, name in ((["results:read"], str(olga.uid)), (["results:read", "users:read"], "Olga")):
        _, text = issue_token(olga, name="test", scopes=scopes)
        client = Client(headers={"authorization": f"Bearer {text}"})
        assert client.get(f"{API}/results/{result.uid}").json()["rows"][0]["name"] == name
        assert client.post(f"{API}/controls/vuln.cadence/evaluate").status_code == 403


def test_controls_page_by_key(adam, client_for):
    client, keys, address = client_for(adam), [], f"{API}/controls?limit=1"
    while address:
        page = client.get(address).json()
        keys += [control["key"] for control in page["results"]]
        address = page["next"]
    assert keys == ["iam.mfa.privileged", "vuln.cadence", "vuln.sla.critical"]
