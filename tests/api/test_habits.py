"""How every resource behaves: errors in one shape, strict input, pages, repeats, versions."""

import json
import threading

import pytest
from django.test import Client

from audit.models import AuditEntry
from opssight.kernel.rest import idempotency, views
from opssight.models import IdempotencyRecord
from scanning.models import Asset, Finding, Scan


def problem(response, status: int) -> dict:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["request_id"] == response["X-Request-ID"]
    assert body["detail"]
    return body


# --- errors ---


def test_nobody_gets_401_and_is_told_how(db):
    response = Client().get("/api/v1/findings")
    problem(response, 401)
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_missing_permission_is_named_and_recorded(api, eve):
    body = problem(api(eve)("GET", "/findings"), 403)
    assert body["missing_permission"] == "findings:read"
    entry = AuditEntry.objects.filter(event="access:denied").latest("id")
    assert (entry.actor_id, entry.request_id) == (eve.pk, body["request_id"])


def test_out_of_sight_and_not_there_are_the_same_404(api, dev, finding):
    from rbac.models import RoleAssignment
    from rbac.services import create_unit, root_unit

    assert api(dev)("GET", f"/findings/{finding.uid}").status_code == 200
    team = create_unit("Elsewhere", parent=root_unit())
    for held in RoleAssignment.objects.filter(user=dev, role__key="developer"):
        held.unit = team
        held.save()
    hidden = problem(api(dev)("GET", f"/findings/{finding.uid}"), 404)
    absent = problem(api(dev)("GET", "/findings/01a20bd9-1d59-7949-b8ec-209801f0f979"), 404)
    assert hidden["detail"] == absent["detail"]
    assert api(dev)("GET", "/findings").json()["results"] == []


@pytest.mark.parametrize(
    "path", ["", "/", "/nonsense", "/findings/", "/findings/not-a-uid", "/findings/1/x", "/../admin"]
)
def test_unknown_addresses(api, olga, path):
    problem(api(olga)("GET", path), 404)
    problem(api(olga)("POST", path, {}), 404)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/findings"), ("DELETE", "/assets"), ("PUT", "/me"), ("TRACE", "/scans")]
)
def test_wrong_methods(api, olga, method, path):
    response = api(olga)(method, path, {})
    problem(response, 405)
    assert "GET" in response["Allow"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"]
)
def test_other_content_types(api, olga, kind):
    problem(api(olga)("POST", "/scans", raw=b"asset=1", content_type=kind), 415)


def test_a_body_that_is_too_large(api, olga, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    problem(api(olga)("POST", "/scans", {"asset": "x" * 200}), 413)


def test_our_own_fault_is_a_500_without_a_traceback(api, olga, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("secret detail")

    caller = api(olga)
    caller.client.raise_request_exception = False
    monkeypatch.setattr(Finding.objects, "permitted", broken, raising=False)
    monkeypatch.setattr("opssight.kernel.guards.permitted", broken)
    body = problem(caller("GET", "/findings"), 500)
    assert "secret" not in json.dumps(body)


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"",
        b"\xff\xfe",
        b'{"asset": "\xff"}',
        b'{"asset": "a", "asset": "b"}',
        b'{"asset": NaN}',
        b'{"asset": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b"[]",
        b'"text"',
        b"null",
        b"true",
    ],
)
def test_bodies_that_are_no_object(api, olga, raw):
    problem(api(olga)("POST", "/scans", raw=raw), 400)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": 5}, "name"),
        ({"name": True}, "name"),
        ({"name": None}, "name"),
        ({"name": ["x"]}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "abc\u202etxt"}, "name"),
        ({"unit": "nonsense"}, "unit"),
        ({"unit": 10**30}, "unit"),
        ({"unit": "01a20bd9-1d59-7949-b8ec-209801f0f979"}, "unit"),
        ({"uid": "01a20bd9-1d59-7949-b8ec-209801f0f979"}, "uid"),
        ({"kind": "installation"}, "kind"),
        ({"created_at": "2020-01-01T00:00:00Z"}, "created_at"),
        ({"is_superuser": True}, "is_superuser"),
        ({"_method": "DELETE"}, "_method"),
    ],
)
def test_wrong_fields_are_named(api, olga, tmp_path, change, field):
    from rbac.services import root_unit

    good = {"name": "shop", "location": str(tmp_path / "shop"), "unit": str(root_unit().uid)}
    body = problem(api(olga)("POST", "/assets", good | change), 400)
    assert list(body["errors"]) == [field]
    assert not Asset.objects.exists()
    assert api(olga)("POST", "/assets", good).status_code == 201


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("nonsense=1", "nonsense"),
        ("status=open&status=fixed", "status"),
        ("status=destroyed", "status"),
        ("severity=worst", "severity"),
        ("asset=5", "asset"),
        ("due_before=yesterday", "due_before"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("limit=٣", "limit"),
        ("cursor=abc", "cursor"),
        ("fields=uid,secret", "fields"),
        ("q=%00", "q"),
        ("_method=DELETE", "_method"),
        ("format=xml", "format"),
    ],
)
def test_wrong_parameters_are_named(api, olga, query, name):
    assert name in problem(api(olga)("GET", f"/findings?{query}"), 400)["errors"]


def test_no_header_changes_the_method(api, olga, asset):
    caller = api(olga)
    for header in ("x-http-method-override", "x-http-method", "x-method-override"):
        assert caller("GET", f"/assets/{asset.uid}", **{header: "DELETE"}).status_code == 200
    assert Asset.objects.filter(pk=asset.pk).exists()


# --- lists ---


def test_filters(api, olga, scan):
    caller = api(olga)

    def rules(query: str) -> set[str]:
        return {row["rule"] for row in caller("GET", f"/findings?{query}").json()["results"]}

    assert rules("severity=high,critical") == {"B1", "B3"}
    assert rules("status=fixed") == set()
    assert rules("status=open,fixed") == {f"B{n}" for n in range(5)}
    assert rules(f"asset={scan.asset.uid}&q=title 2") == {"B2"}
    assert rules(f"scan={scan.uid}&rule=B4") == {"B4"}
    assert rules("due_before=2999-01-01T00:00:00Z&severity=low") == {"B0", "B2"}
    assert rules(f"q=F-{Finding.objects.get(rule='B3').pk}") == {"B3"}


def test_pages_hold_still_while_rows_come_in(api, olga, scan):
    caller = api(olga)
    first = caller("GET", "/findings?limit=2&fields=uid,rule").json()
    assert [set(row) for row in first["results"]] == [{"uid", "rule"}] * 2
    late = Finding.objects.get(rule="B0")
    late.pk, late.uid, late.fingerprint = None, "01a20bd9-1d59-7949-b8ec-209801f0f979", "late"
    late.save()
    seen, page = [row["rule"] for row in first["results"]], first
    while page["next"]:
        page = caller("GET", page["next"].partition("/api/v1")[2]).json()
        seen += [row["rule"] for row in page["results"]]
    assert seen == ["B4", "B3", "B2", "B1", "B0"]
    back = caller("GET", page["previous"].partition("/api/v1")[2]).json()
    assert [row["rule"] for row in back["results"]] == ["B2", "B1"]


def test_a_changed_cursor_is_refused(api, olga, scan):
    cursor = api(olga)("GET", "/findings?limit=2").json()["next"].partition("cursor=")[2]
    for bad in (cursor[:-2], "x" + cursor, cursor.swapcase()):
        problem(api(olga)("GET", f"/findings?cursor={bad}"), 400)


@pytest.mark.parametrize("path", ["findings", "scans", "assets", "trail", "tokens"])
def test_the_number_of_queries_does_not_grow_with_the_rows(api, olga, scan, path, django_assert_max_num_queries):
    caller = api(olga)
    caller("GET", f"/{path}")
    with django_assert_max_num_queries(6):
        assert caller("GET", f"/{path}").status_code == 200


# --- repeats ---


def asset_body(tmp_path, name: str = "shop") -> dict:
    from rbac.services import root_unit

    return {"name": name, "location": str(tmp_path / name), "unit": str(root_unit().uid)}


def test_the_same_key_and_body_have_one_effect(api, olga, tmp_path):
    caller, body = api(olga), asset_body(tmp_path)
    first = caller("POST", "/assets", body, idempotency_key="k1")
    again = caller("POST", "/assets", body, idempotency_key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first["ETag"] == again["ETag"]
    assert (first.has_header("Idempotency-Replayed"), again["Idempotency-Replayed"]) == (False, "true")
    assert Asset.objects.count() == 1
    assert "shop" not in IdempotencyRecord.objects.get().answer_encrypted


def test_a_key_belongs_to_one_body_and_one_account(api, olga, tmp_path):
    caller = api(olga)
    caller("POST", "/assets", asset_body(tmp_path), idempotency_key="k1")
    problem(caller("POST", "/assets", asset_body(tmp_path, "other"), idempotency_key="k1"), 422)
    from tests.conftest import make_person

    other = make_person("Ora", "officer")
    assert api(other)("POST", "/assets", asset_body(tmp_path, "other"), idempotency_key="k1").status_code == 201


def test_a_refusal_is_replayed_too_and_a_fault_of_ours_is_not(api, olga, tmp_path, monkeypatch):
    caller = api(olga)
    caller("POST", "/assets", asset_body(tmp_path))
    assert problem(caller("POST", "/assets", asset_body(tmp_path), idempotency_key="k1"), 409)
    assert caller("POST", "/assets", asset_body(tmp_path), idempotency_key="k1")["Idempotency-Replayed"] == "true"

    def broken(**kwargs):
        raise RuntimeError

    caller.client.raise_request_exception = False
    with monkeypatch.context() as patch:
        patch.setattr("scanning.inventory.create_asset", broken)
        assert caller("POST", "/assets", asset_body(tmp_path, "late"), idempotency_key="k2").status_code == 500
    record = IdempotencyRecord.objects.filter(key="k2")
    record.update(created_at="2020-01-01T00:00:00Z")  # as after the minutes in which it might still run
    assert caller("POST", "/assets", asset_body(tmp_path, "late"), idempotency_key="k2").status_code == 201


def test_a_request_that_still_runs_is_a_409(api, olga, tmp_path, monkeypatch):
    caller, body = api(olga), asset_body(tmp_path)
    caller("POST", "/assets", body, idempotency_key="k1")
    IdempotencyRecord.objects.update(answer_encrypted="")
    problem(caller("POST", "/assets", body, idempotency_key="k1"), 409)


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a b", "ä"])
def test_keys_that_are_none(api, olga, tmp_path, key):
    problem(api(olga)("POST", "/assets", asset_body(tmp_path), idempotency_key=key), 400)


@pytest.mark.django_db(transaction=True)
def test_of_parallel_requests_with_one_key_one_acts(api, olga, tmp_path):
    from django.db import connection

    if connection.vendor == "sqlite":
        pytest.skip("SQLite in memory is one connection; PostgreSQL runs this")
    caller, body, answers = api(olga), asset_body(tmp_path), []

    def ask() -> None:
        answers.append(caller("POST", "/assets", body, idempotency_key="k1").status_code)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Asset.objects.count() == 1
    assert set(answers) <= {201, 409}


def test_records_are_kept_for_a_day(api, olga, tmp_path):
    api(olga)("POST", "/assets", asset_body(tmp_path), idempotency_key="k1")
    idempotency.purge()
    assert IdempotencyRecord.objects.exists()
    IdempotencyRecord.objects.update(created_at="2020-01-01T00:00:00Z")
    idempotency.purge()
    assert not IdempotencyRecord.objects.exists()


# --- versions ---


def test_a_change_needs_the_version_that_was_read(api, olga, asset):
    caller = api(olga)
    read = caller("GET", f"/assets/{asset.uid}")
    assert caller("GET", f"/assets/{asset.uid}", if_none_match=read["ETag"]).status_code == 304
    problem(caller("PATCH", f"/assets/{asset.uid}", {"name": "new"}), 428)
    problem(caller("PATCH", f"/assets/{asset.uid}", {"name": "new"}, if_match='"other"'), 412)
    changed = caller("PATCH", f"/assets/{asset.uid}", {"name": "new"}, if_match=read["ETag"])
    assert (changed.status_code, changed.json()["name"]) == (200, "new")
    problem(caller("PATCH", f"/assets/{asset.uid}", {"name": "newer"}, if_match=read["ETag"]), 412)
    assert caller("PATCH", f"/assets/{asset.uid}", {"name": "newer"}, if_match=changed["ETag"]).status_code == 200
    problem(caller("PATCH", f"/assets/{asset.uid}", {"kind": "folder"}, if_match="*"), 400)
    entry = AuditEntry.objects.filter(resource_type="scanning.asset", action=1, success=True).latest("id")
    assert entry.changes == {"name": ["new", "newer"]}


# --- jobs and bulk ---


def test_a_scan_is_accepted_with_its_row(api, olga, asset):
    response = api(olga)("POST", "/scans", {"asset": str(asset.uid)})
    assert response.status_code == 202
    row = Scan.objects.get()
    assert response["Location"] == f"/api/v1/scans/{row.uid}"
    assert (response.json()["state"], row.requested_by) == ("queued", olga)
    assert api(olga)("POST", "/scans", {"asset": str(asset.uid)}).json()["uid"] == str(row.uid)


def test_waiting_ends_with_the_scan_or_the_patience(api, olga, asset, monkeypatch):
    monkeypatch.setattr(views, "POLL", 0.01)
    assert api(olga)("POST", "/scans?wait=1", {"asset": str(asset.uid)}).status_code == 202
    row = Scan.objects.get()

    def end(self, *args, **kwargs):
        self.state = "completed"

    monkeypatch.setattr(Scan, "refresh_from_db", end)
    done = api(olga)("POST", "/scans?wait=30", {"asset": str(asset.uid)})
    assert (done.status_code, done.json()["uid"], done.json()["state"]) == (200, str(row.uid), "completed")
    problem(api(olga)("POST", "/scans?wait=31", {"asset": str(asset.uid)}), 400)


def test_a_scanner_or_asset_that_is_not_there(api, olga, dev, asset):
    problem(api(olga)("POST", "/scans", {"asset": str(asset.uid), "scanner": "nonsense"}), 400)
    problem(api(olga)("POST", "/scans", {"asset": "01a20bd9-1d59-7949-b8ec-209801f0f979"}), 404)
    assert api(dev)("POST", "/scans", {"asset": str(asset.uid)}).status_code == 202


def test_bulk_items_stand_for_themselves(api, olga, tmp_path):
    items = [
        asset_body(tmp_path, "one"),
        {"name": "two"},
        asset_body(tmp_path, "one"),
        5,
        asset_body(tmp_path, "three"),
    ]
    dry = api(olga)("POST", "/assets/bulk", {"items": items, "dry_run": True}).json()
    assert ([r["ok"] for r in dry["results"]], Asset.objects.count()) == ([True, False, True, False, True], 0)
    real = api(olga)("POST", "/assets/bulk", {"items": items}).json()
    assert [r["status"] for r in real["results"]] == [201, 400, 409, 400, 201]
    assert (real["done"], real["failed"]) == (2, 3)
    assert set(real["results"][1]["errors"]) == {"location", "unit"}
    assert {str(asset.uid) for asset in Asset.objects.all()} == {r["uid"] for r in real["results"] if r["ok"]}


@pytest.mark.parametrize("body", [{}, {"items": []}, {"items": [{}] * 101}, {"items": "x"}, {"items": [{}], "more": 1}])
def test_bulk_bodies_that_are_none(api, olga, body):
    problem(api(olga)("POST", "/assets/bulk", body), 400)


# --- rate ---


def test_the_rate_is_told_and_kept(api, olga, settings):
    settings.API_REQUESTS_PER_MINUTE = 3
    caller = api(olga)
    answers = [caller("GET", "/me") for _ in range(4)]
    codes = [answer.status_code for answer in answers]
    assert codes in ([200, 200, 200, 429], [200, 200, 200, 200])  # the minute may turn over once
    assert answers[0]["RateLimit-Policy"] == '"default";q=3;w=60'
    assert answers[0]["RateLimit"].startswith('"default";r=2;t=')
    if codes[3] == 429:
        problem(answers[3], 429)
        assert 0 < int(answers[3]["Retry-After"]) <= 60


# --- description ---


def test_the_description_is_what_the_code_says(db):
    from opssight.api import DESCRIPTION
    from opssight.management.commands.openapi import GENERATOR_STATS, describe

    assert describe() == DESCRIPTION.read_text(), "run: make openapi"
    assert not GENERATOR_STATS
    response = Client().get("/api/v1/openapi.json")
    assert json.loads(b"".join(response.streaming_content))["openapi"] == "3.1.0"


def test_people_can_read_it_too(eve, client_for):
    page = client_for(eve).get("/api-guide").content.decode()
    for text in ("/api/v1/findings/{uid}", "findings:read", "Idempotency-Key", "scanner_version"):
        assert text in page
