"""Findings as files: for whom, which, in shapes that others and we ourselves can read, however many there are."""

import csv
import io
import json
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.tokens.services import issue_token
from audit.models import AuditEntry
from opssight.kernel.jobs import State
from rbac.services import assign_role, create_unit, permissions_of, root_unit
from scanning import exports, findings
from scanning.detail import RATED, TOLD
from scanning.exports import services
from scanning.imports.services import import_report
from scanning.inventory import asset_at
from scanning.models import Asset, Finding, Scan, Severity, Status
from scanning.reports.base import RawFinding
from scanning.services import request_scan
from scanning.triage.services import answer, decide
from tests.conftest import make_person, put
from tests.scanning.test_detail import LOG4J

pytestmark = pytest.mark.django_db

SHELL = RawFinding(
    "B602", "shell=True", "A shell is started.", Severity.CRITICAL, "ä b/sh#op.py", 9, flagged="call(x)", cwe=78,
    code="8 import x\n9 call(x)\n10 end()", end_line=9, confidence="high", help_url="https://bandit.example/b602",
)  # fmt: skip
HOSTILE = replace(
    SHELL, title='=HYPERLINK("http://evil","x")', path="@SUM(1).py", flagged="y", description='"\n</script>'
)


@pytest.fixture
def asset(tmp_path) -> Asset:
    return asset_at(tmp_path)


def scanned(asset: Asset, *raws: RawFinding) -> None:
    scan = Scan.claim(request_scan(asset, dispatch=False).pk)
    findings.record(scan, raws)
    scan.finish(State.COMPLETED)


@pytest.fixture
def found(asset) -> Asset:
    scanned(asset, SHELL, HOSTILE, LOG4J, replace(LOG4J, rule="CVE-2020-1", cvss=None, aliases=(), identity="old"))
    return asset


def ask(person: Any, query: str) -> Any:
    _, text = issue_token(person, name="ci", scopes=permissions_of(person))
    return Client(headers={"authorization": f"Bearer {text}"}).get(f"/api/v1/findings/export?{query}")


def body(answered: Any) -> bytes:
    assert answered.status_code == 200, answered.content
    return b"".join(answered.streaming_content)


def results(content: bytes) -> list[dict[str, Any]]:
    return [result for run in json.loads(content)["runs"] for result in run["results"]]


def kept(asset: Asset) -> list[tuple]:
    rows = Finding.objects.filter(asset=asset).order_by("fingerprint")
    told = ("scanner", "fingerprint", "rule", "title", "description", "severity", "confidence", "cwe", "path", "line")
    return list(rows.values_list(*told, "code", "help_url", "status", *TOLD, *RATED))


def test_our_own_reader_finds_the_same_findings_in_it_again(found, dev):
    content, before = body(ask(dev, "format=sarif")), kept(found)
    diff = import_report(found, io.BytesIO(content), by=dev)
    assert diff.counts() == {"new": 0, "same": 4, "fixed": 0, "reopened": 0}
    assert kept(found) == before
    assert body(ask(dev, "format=sarif")) == content


def test_and_brings_them_to_another_asset(found, dev, tmp_path):
    (tmp_path / "other").mkdir()
    other = asset_at(tmp_path / "other")
    import_report(other, io.BytesIO(body(ask(dev, "format=sarif"))), by=dev)
    assert kept(other) == kept(found)


def test_what_was_decided_is_suppressed_with_its_reason_and_what_is_fixed_passes(found, olga, dev, tmp_path):
    false, accepted, fixed, _ = Finding.objects.order_by("pk")
    decide(false, "false_positive", by=olga, reason="Only a test.")
    until = timezone.now() + timedelta(days=9)
    answer(
        decide(accepted, "accepted", by=olga, reason="Not reachable.", until=until),
        approve=True,
        by=make_person("Ana", "officer"),
    )
    put(Finding.objects.filter(pk=fixed.pk), status=Status.FIXED)
    told = {one["properties"]["opssight"]["uid"]: one for one in results(body(ask(olga, "format=sarif")))}
    assert told[str(false.uid)]["suppressions"] == [
        {"kind": "external", "status": "accepted", "justification": "Only a test."}
    ]
    assert told[str(accepted.uid)]["suppressions"][0]["justification"] == "Not reachable."
    assert (told[str(fixed.uid)]["kind"], told[str(fixed.uid)]["level"]) == ("pass", "none")
    (tmp_path / "other").mkdir()
    other = asset_at(tmp_path / "other")
    diff = import_report(other, io.BytesIO(body(ask(olga, "format=sarif"))), by=olga)
    assert diff.counts()["new"] == 1


def test_the_reason_is_for_those_who_may_read_decisions(found, olga, eve):
    decide(Finding.objects.earliest("pk"), "false_positive", by=olga, reason="A secret reason.")
    assert b"A secret reason." in body(ask(olga, "format=sarif"))
    _, text = issue_token(olga, name="narrow", scopes=["findings:read"])
    caller = Client(headers={"authorization": f"Bearer {text}"})
    content = body(caller.get("/api/v1/findings/export?format=sarif"))
    assert (b"A secret reason." in content, b"False positive" in content) == (False, True)


def test_sarif_is_as_its_schema_has_it(found, dev):
    log = json.loads(body(ask(dev, "format=sarif")))
    assert (log["version"], set(log)) == ("2.1.0", {"$schema", "version", "runs"})
    [run] = log["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], len(driver["rules"])) == ("bandit", 3)
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert result["message"]["text"]
        for location in result["locations"]:
            place = location["physicalLocation"]
            uri = place["artifactLocation"]["uri"]
            assert (uri.isascii(), {*" #@\\"} & {*uri}) == (True, set())
            assert place.get("region", {"startLine": 1})["startLine"] >= 1


def test_a_spreadsheet_finds_no_formula_in_the_table(found, dev):
    content = body(ask(dev, "format=csv")).decode()
    rows = list(csv.DictReader(io.StringIO(content)))
    assert len(rows) == 4
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())
    assert {row["path"] for row in rows} >= {"'@SUM(1).py", "pom.xml"}
    [row] = [row for row in rows if row["rule"] == "CVE-2021-44228"]
    assert (row["severity"], row["aliases"], row["cvss"]) == ("critical", "CVE-2021-44228 GHSA-jfh8-c2jp-5v3q", "9.8")
    assert row["is_known_exploited"] == ""  # not known, which is not "no"


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("", 4), ("cve=cve-2021-44228", 1), ("cve=CVE-2021-4422", 0), ("package=LOG4J-core", 2), ("package=log4j", 0),
        ("cvss_min=9.8", 1), ("cvss_min=9.9", 0), ("has_fix=true", 0), ("has_fix=false", 4), ("kev=true", 0),
        ("kev=false", 0), ("epss_min=0", 0), ("status=fixed", 0), ("severity=critical&q=shell", 1),
    ],
)  # fmt: skip
def test_list_and_files_answer_the_same_question(found, dev, query, number):
    client = Client(headers={"authorization": f"Bearer {issue_token(dev, name='x', scopes=permissions_of(dev))[1]}"})
    assert len(client.get(f"/api/v1/findings?{query}").json()["results"]) == number
    assert len(results(body(ask(dev, f"format=sarif&{query}")))) == number
    assert body(ask(dev, f"format=csv&{query}")).count(b"\r\n") >= number + 1
    entry = AuditEntry.objects.filter(event="records:exported").latest("pk")
    assert (entry.details["count"], entry.details["format"]) == (number, "csv")


@pytest.mark.parametrize(
    "query",
    [
        "format=pdf", "format=", "formt=csv", "limit=5", "cursor=x", "fields=uid", "severity=worst", "kev=maybe",
        "has_fix=1", "epss_min=2", "epss_min=nan", "cvss_min=-1", "cvss_min=x", "cve=%00", "asset=x",
        "format=csv&format=sarif",
    ],
)  # fmt: skip
def test_what_it_does_not_know_is_refused(found, dev, query):
    answered = ask(dev, query)
    assert (answered.status_code, answered["Content-Type"]) == (400, "application/problem+json")
    assert not AuditEntry.objects.filter(event="records:exported").exists()


def test_who_gets_what(found, eve, client_for):
    assert client_for(eve).get("/api/v1/findings/export?format=csv").status_code == 403
    assert client_for(eve).get("/findings/export?format=csv").status_code == 403
    elsewhere = Asset.objects.create(unit=create_unit("Elsewhere", parent=root_unit()), name="x", location="/x")
    assign_role(eve, "developer", unit=elsewhere.unit, reason="works there")
    client = client_for(eve)
    assert results(b"".join(client.get("/api/v1/findings/export").streaming_content)) == []
    assert b"".join(client.get("/findings/export?format=csv").streaming_content).count(b"\r\n") == 1
    scanned(elsewhere, SHELL)
    assert len(results(b"".join(client.get("/findings/export?format=sarif&status=any").streaming_content))) == 1


def test_the_queue_links_to_a_file_of_what_it_shows(found, dev, client_for):
    client = client_for(dev)
    page = client.get("/findings?severity=critical&q=shell").content.decode()
    assert 'href="/findings/export?severity=critical&amp;q=shell&amp;format=sarif"' in page
    shown = b"".join(client.get("/findings/export?severity=critical&q=shell&format=sarif").streaming_content)
    assert [one["ruleId"] for one in results(shown)] == ["B602"]
    assert client.get("/findings/export?severity=worst&format=csv").status_code == 404
    assert client.get("/findings/export?format=exe").status_code == 404


def test_more_than_a_file_holds_is_refused_and_not_cut(found, dev, monkeypatch):
    monkeypatch.setattr(services, "LIMIT", 3)
    answered = ask(dev, "format=csv")
    assert (answered.status_code, "more than 3" in answered.json()["detail"]) == (400, True)


@pytest.mark.parametrize("form", exports.FORMATS)
def test_the_memory_does_not_grow_with_the_findings(asset, dev, form):
    def peak(number: int) -> int:
        scanned(asset, *(replace(SHELL, flagged=str(n), description="d" * 1000) for n in range(number)))
        response = exports.export(Finding.objects.all(), form, by=dev, asked="")
        tracemalloc.start()
        size = sum(len(part) for part in response.streaming_content)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert size > number * (1000 if form == "sarif" else 100)
        return most

    peak(600)
    assert peak(4_000) < 2 * peak(1_000)
