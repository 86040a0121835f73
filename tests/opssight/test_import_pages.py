"""Importing in the console: trying, taking in, refusals at the field, and taking back."""

import gzip
import json
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.logins.services import LOGIN
from accounts.models import User
from opssight.console.views import imports
from rbac.services import assign_role, create_unit, root_unit
from scanning.imports.models import Import
from scanning.models import Finding, Scan, Status
from tests.conftest import enrolled, make_person, opened, put
from tests.opssight.test_console import HTMX, make_asset, make_findings, make_scan, text

pytestmark = pytest.mark.django_db


def report(*rules: str, **more) -> bytes:
    found = [
        {"rule": rule, "title": f"About {rule}", "severity": "high", "path": "shop/pay.py", "line": line}
        for line, rule in enumerate(rules, 1)
    ]
    return json.dumps({"tool": "linter", "findings": found, "files": ["shop/pay.py"], **more}).encode()


def send(client, asset, content: bytes, step="take", *, name="linter.json", headers=None, **more):
    data = {"asset": str(asset.uid), "step": step, "file": SimpleUploadedFile(name, content), **more}
    return client.post("/imports/new", data, headers=headers)


@pytest.fixture
def asset(db):
    return make_asset()


@pytest.fixture
def analyst(db, client_for):
    return client_for(make_person("Ana", "analyst"))


def test_tried_first_nothing_is_kept_and_the_diff_is_told(analyst, asset):
    send(analyst, asset, report("ONE", "TWO"))
    page = send(analyst, asset, report("TWO", "THREE"), "try")
    shown = text(page)
    assert page.status_code == 200
    assert "What would come of it on payments" in shown
    assert "New 1 Same 1 Fixed 1 Reopened 0" in shown
    assert "High 1 1 1 0" in shown
    assert "About THREE shop/pay.py:2 · linter new" in shown
    assert "About ONE shop/pay.py:1 · linter fixed" in shown
    assert (Import.objects.count(), Finding.objects.count()) == (1, 2)
    part = send(analyst, asset, report("TWO", "THREE"), "try", headers=HTMX).content.decode()
    assert "<html" not in part
    tried = re.search(r'name="tried" value="(\w{64})"', part)[1]
    other = send(analyst, asset, report("FOUR"), tried=tried)
    assert (other.status_code, "not the file that was tried" in text(other)) == (400, True)
    assert Import.objects.count() == 1
    taken = send(analyst, asset, report("TWO", "THREE"), tried=tried, headers=HTMX)
    row = Import.objects.latest("pk")
    assert taken["HX-Redirect"] == f"/imports/{row.uid}"
    assert row.imported_by.name == "Ana"
    shown = text(analyst.get(f"/imports/{row.uid}"))
    assert "The report is taken in." in shown
    assert "New 1 Same 1 Fixed 1 Reopened 0" in shown
    assert "High 1 1 1 0" in shown


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"tool": "x", "findings": [{"rule": 1', "line"),
        (b"<html>", "Line 1: the report is XML or HTML"),
        (b"\xff\xfe{\0", "UTF-16"),
        (b"{}", "Name it:"),
        (gzip.compress(report("ONE"), mtime=0)[:40], "damaged or was cut off"),
        (report("ONE").replace(b'"line"', b'"lines"'), "lines"),
        (b"", "empty"),
    ],
)
def test_a_report_that_can_not_be_read_is_refused_at_the_field(analyst, asset, content, told):
    for headers in ({}, HTMX):
        page = send(analyst, asset, content, "try", headers=headers)
        assert page.status_code == 400
        field = re.search(r'id="id_file-error" role="alert"[^>]*>(.*?)</div>', page.content.decode(), re.DOTALL)
        assert told in field[1]
        assert "Nothing was taken in" in text(page)
    assert not Import.objects.exists()
    assert send(analyst, asset, report("ONE"), format="sarif").status_code == 400


def test_an_upload_is_measured_before_it_is_read(analyst, asset, client_for, monkeypatch):
    monkeypatch.setattr(imports, "MAX_BYTES", 1_000)
    big = report("ONE", version="x" * 200_000)
    page = send(analyst, asset, big)
    assert (page.status_code, "larger than 200 MB" in text(page)) == (413, True)
    page = send(analyst, asset, report(*map(str, range(40))))  # through the door, and too large for a file
    assert (page.status_code, "larger than 200 MB" in text(page)) == (400, True)
    assert not Import.objects.exists()


def test_nothing_is_taken_without_the_forms_own_token(asset):
    person, strict = make_person("Ana", "analyst"), Client(enforce_csrf_checks=True)
    strict.force_login(person)
    session = strict.session
    session["otp_device_id"], session[LOGIN] = enrolled(person).persistent_id, str(opened(person).uid)
    session.save()
    answer = send(strict, asset, report("ONE"))
    assert (answer.status_code, "The form had expired" in text(answer)) == (403, True)
    assert not Import.objects.exists()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', strict.get("/imports/new").content.decode())[1]
    assert send(strict, asset, report("ONE"), csrfmiddlewaretoken=token).status_code == 302


def test_undoing_says_what_it_will_do_and_does_it(analyst, asset):
    send(analyst, asset, report("ONE", "TWO", "THREE"))
    send(analyst, asset, report("TWO", "FOUR", "FIVE"), name="second.json")
    row = Import.objects.latest("pk")
    put(Finding.objects.filter(rule="FIVE"), status=Status.TRIAGED)
    page = analyst.get(f"/imports/{row.uid}")
    for told in ("1 finding that it alone", "2 that it changed", "1 that people decided"):
        assert told in text(page)
    done = analyst.post(f"/imports/{row.uid}/undo", follow=True)
    assert "1 findings went, 2 are as before, 1 stay." in text(done)
    assert "It was undone" in text(done)
    assert "Undo this import" not in text(done)
    assert "was undone on" in text(analyst.post(f"/imports/{row.uid}/undo", follow=True))
    run = Scan.objects.latest("pk")
    assert run.state == "undone"
    shown = text(analyst.get(f"/scans/{run.uid}"))
    assert "Taken back. Its import was undone" in shown
    assert "did not finish" not in shown
    assert "Import of second.json" in shown
    assert "Undone" in text(analyst.get("/imports?state=undone"))
    assert "1 of 1" in text(analyst.get(f"/imports?state=taken&since=24h&asset={asset.uid}"))


def test_who_may_do_what(analyst, asset, adam, dev, client_for):
    send(analyst, asset, report("ONE"))
    row = Import.objects.get()
    auditor, developer = client_for(adam), client_for(dev)
    assert auditor.get("/imports/new").status_code == 403
    assert send(auditor, asset, report("ONE")).status_code == 403
    assert "Undo this import" not in text(developer.get(f"/imports/{row.uid}"))
    assert developer.post(f"/imports/{row.uid}/undo").status_code == 403
    team = create_unit("Payments", parent=root_unit())
    outsider = User.objects.create(email="team@example.org")
    assign_role(outsider, "analyst", unit=team, reason="test")
    client = client_for(outsider)
    assert client.get(f"/imports/{row.uid}").status_code == 404
    assert client.post(f"/imports/{row.uid}/undo").status_code == 404
    assert "No report yet" in text(client.get("/imports"))
    there = send(client, asset, report("TWO"))
    assert (there.status_code, "valid choice" in text(there)) == (400, True)
    row.refresh_from_db()
    assert row.undone_at is None


def test_names_and_reports_are_text(analyst, asset):
    name = '"><script>alert(1)</script>.json'
    hostile = report("ONE").replace(b"About ONE", b"<img src=x>")
    page = send(analyst, asset, hostile, "try", name=name).content.decode()
    taken = send(analyst, asset, hostile, name=name)
    for shown in (page, analyst.get(taken["Location"]).content.decode(), analyst.get("/imports").content.decode()):
        assert "<script>alert" not in shown
        assert "<img" not in shown
    long = send(analyst, asset, report("ONE"), name="x" * 300)
    assert (long.status_code, "characters" in text(long)) == (400, True)


def test_lists_and_pages_cost_the_same_whatever_they_show(analyst, asset, django_assert_max_num_queries):
    send(analyst, asset, report("ONE"))
    row = Import.objects.get()
    for address, most in (("/imports", 14), (f"/imports/{row.uid}", 24)):
        with django_assert_max_num_queries(most) as first:
            analyst.get(address)
            cost = len(first)
        for n in range(3):
            send(analyst, asset, report("ONE", f"{address}{n}"))
        make_findings(make_scan(asset), 3)
        analyst.get("/imports/new")  # where the messages are told
        with django_assert_max_num_queries(cost):
            assert analyst.get(address).status_code == 200
