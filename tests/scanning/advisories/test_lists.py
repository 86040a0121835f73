"""What operators' lists say of CVEs: read whole or not at all, applied to what is there and what comes in."""

import gzip
import json
import os
from dataclasses import replace
from datetime import date

import pytest
from django.core.management import call_command

from opssight.kernel.jobs import State
from scanning import findings
from scanning.advisories import services
from scanning.advisories.models import EpssScore, Feed, KnownExploited
from scanning.advisories.tasks import enrich_findings
from scanning.detail import RATED
from scanning.inventory import asset_at
from scanning.models import Finding, Scan
from scanning.services import request_scan
from tests.scanning.test_detail import LOG4J

pytestmark = pytest.mark.django_db

HEAD = "#model_version:v2025.03.14,score_date:2026-11-20T12:55:00+0000\ncve,epss,percentile\n"
OTHER = replace(LOG4J, rule="CVE-2020-0001", aliases=("CVE-2020-0001", "CVE-2020-0002"), identity="other")
PLAIN = replace(LOG4J, rule="B1", aliases=(), identity="plain")


def exploited(*cves: str, **more: object) -> str:
    row = {"dateAdded": "2021-12-10", "dueDate": "2021-12-24", "knownRansomwareCampaignUse": "Known", **more}
    rows = [{"cveID": cve, **row} for cve in cves]
    return json.dumps({"dateReleased": "2026-11-23T15:00:00Z", "count": len(rows), "vulnerabilities": rows}, indent=1)


@pytest.fixture
def epss(settings, tmp_path):
    """`epss("CVE-2021-44228,0.9,0.99")`: the operator's file, another one each time."""
    return _file(settings, "EPSS_FILE", tmp_path / "epss.csv", lambda *lines: HEAD + "".join(f"{x}\n" for x in lines))


@pytest.fixture
def kev(settings, tmp_path):
    return _file(settings, "KEV_FILE", tmp_path / "kev.json", exploited)


def _file(settings, name, path, made):
    def write(*told: str, content: bytes | None = None):
        path.write_bytes(made(*told).encode() if content is None else content)
        os.utime(path, ns=(write.time, write.time))
        write.time += 10**9
        setattr(settings, name, str(path))
        return path

    write.time = 1_795_000_000 * 10**9
    return write


@pytest.fixture
def scanned(tmp_path):
    (tmp_path / "code").mkdir()
    asset = asset_at(tmp_path / "code")

    def scan(*raws):
        made = Scan.claim(request_scan(asset, dispatch=False).pk)
        findings.record(made, raws)
        made.finish(State.COMPLETED)

    return scan


def states() -> list[str]:
    return [outcome.state for outcome in services.enrich()]


def rating(rule: str = LOG4J.rule) -> tuple:
    return Finding.objects.filter(rule=rule).values_list(*RATED).get()


NOTHING = (None, None, None, None, None)
LISTED = (0.9, 0.99, True, date(2021, 12, 24), True)


def test_without_files_nothing_is_known(scanned):
    scanned(LOG4J)
    assert states() == ["off", "off"]
    assert rating() == NOTHING


def test_what_is_there_and_what_comes_in(scanned, epss, kev):
    scanned(LOG4J, PLAIN)
    epss("CVE-2021-44228,0.9,0.99", "CVE-2020-0001,0.2,0.5", "CVE-2020-0002,0.3,0.6")
    kev("CVE-2021-44228")
    assert states() == ["read", "read"]
    scanned(LOG4J, PLAIN, OTHER)
    assert rating() == LISTED
    assert rating("CVE-2020-0001") == (0.3, 0.6, False, None, None)  # of several CVEs the highest
    assert rating("B1") == NOTHING  # without a CVE no list can know it
    assert states() == ["unchanged", "unchanged"]


def test_a_name_that_appears_later_brings_its_rating(scanned, epss, kev):
    epss("CVE-2021-44228,0.9,0.99")
    kev("CVE-2021-44228")
    services.enrich()
    scanned(replace(LOG4J, aliases=("GHSA-jfh8-c2jp-5v3q",)))
    assert rating() == NOTHING
    scanned(LOG4J)
    assert rating() == LISTED


def test_a_newer_list_takes_the_place_of_the_older(scanned, epss, kev):
    scanned(LOG4J, OTHER)
    epss("CVE-2021-44228,0.9,0.99", "CVE-2020-0001,0.1,0.1")
    kev("CVE-2021-44228", "CVE-2020-0001")
    enrich_findings()
    epss("CVE-2020-0001,0.4,0.7")
    kev("CVE-2020-0001")
    enrich_findings()
    assert rating() == (None, None, False, None, None)
    assert rating("CVE-2020-0001")[:3] == (0.4, 0.7, True)


def test_what_a_killed_process_left_is_brought_up_to_date_by_the_next(scanned, epss, monkeypatch):
    scanned(LOG4J)
    epss("CVE-2021-44228,0.9,0.99")
    with monkeypatch.context() as patch:
        patch.setattr(services, "rate_all", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            services.enrich()
    assert EpssScore.objects.count() == 1
    assert rating() == NOTHING
    assert states() == ["unchanged", "off"]
    assert rating()[:2] == (0.9, 0.99)
    assert not Feed.objects.filter(is_rated=False).exists()


def test_a_setting_that_is_gone_leaves_nothing_known(scanned, epss, kev, settings):
    scanned(LOG4J)
    epss("CVE-2021-44228,0.9,0.99")
    kev("CVE-2021-44228")
    services.enrich()
    settings.EPSS_FILE = settings.KEV_FILE = ""
    assert states() == ["off", "off"]
    assert rating() == NOTHING
    assert (EpssScore.objects.count(), KnownExploited.objects.count()) == (0, 0)


def good_epss(number: int = 40) -> bytes:
    return (HEAD + "".join(f"CVE-2020-{n:04},{n / 1e6:.6f},0.2\n" for n in range(1, number))).encode()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "line 1"),
        (b"\x1f\x8bnot gzip at all", "it can't be read"),
        (gzip.compress(good_epss())[:-9], "Is it copied whole?"),
        (gzip.compress(good_epss(40_000))[:30_000], "Is it copied whole?"),
        (good_epss()[:-4], "line 41: it ends"),
        (HEAD.encode(), "it has 0 rows"),
        (b"cve;epss;percentile\nCVE-2020-0001;0.1;0.2\n", "line 1: cve,epss,percentile was expected"),
        (HEAD.encode() + b"CVE-2020-0001,0.1\n", "line 3: a CVE and two numbers"),
        (HEAD.encode() + b"CVE-2020-0001,0.1,x\n", "line 3: a CVE and two numbers"),
        (HEAD.encode() + b"CVE-2020-0001,nan,0.1\n", "line 3: CVE-2020-0001 has a score"),
        (HEAD.encode() + b"CVE-2020-0001,1.5,0.1\n", "line 3: CVE-2020-0001 has a score"),
        (HEAD.encode() + b"<script>,0.1,0.1\n", "line 3: '<script>' is no CVE"),
        (HEAD.encode() + b"CVE-2020-0001,0.1,0.1\n" * 2, "stands in it twice"),
        (HEAD.encode() + b"CVE-2020-0001,0.1,\xff\n", "can't be read"),
        (HEAD.encode() + b"CVE-2020-0001" * 200, "line 3"),
        (HEAD.encode() + b"CVE-2021-44228,0.5,0.5\n", "the one before 3"),
    ],
)  # fmt: skip
def test_a_spoilt_file_of_scores_changes_nothing_and_names_the_line(scanned, epss, content, told):
    scanned(LOG4J)
    epss("CVE-2021-44228,0.9,0.99", "CVE-2020-0001,0.2,0.5", "CVE-2020-0002,0.3,0.6")
    services.enrich()
    before = Feed.objects.filter(kind="epss").values().get()
    path = epss(content=content)
    [outcome, _] = services.enrich()
    assert (outcome.state, str(path) in outcome.error) == ("failed", True)
    assert told in outcome.error, outcome.error
    assert Feed.objects.filter(kind="epss").values().get() == before
    assert (EpssScore.objects.count(), rating()[0]) == (3, 0.9)


def spoilt(**row: object) -> bytes:
    return exploited("CVE-2021-44228", **row).encode()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "line 1"),
        (exploited("CVE-2021-44228").encode()[:-20], "line"),
        (b"[" * 100_000, "can't be read"),
        (b"[]", "vulnerabilities is no list"),
        (b'{"vulnerabilities": {}}', "vulnerabilities is no list"),
        (b'{"vulnerabilities": [1]}', "vulnerabilities[0] is no object"),
        (b'{"vulnerabilities": [], "count": 0}', "it has 0 rows"),
        (b'{"vulnerabilities": [], "count": 3}', "count is 3, and 0 are listed"),
        (spoilt(cveID="x"), "vulnerabilities[0].cveID"),
        (spoilt(dateAdded=None), "vulnerabilities[0].dateAdded"),
        (spoilt(dueDate="soon"), "vulnerabilities[0].dueDate"),
        (spoilt(dueDate=7), "vulnerabilities[0].dueDate"),
        (exploited("CVE-2020-0001", "CVE-2020-0001").encode(), "stands in it twice"),
    ],
)  # fmt: skip
def test_a_spoilt_list_of_exploited_ones_changes_nothing_and_names_the_place(scanned, kev, content, told):
    scanned(LOG4J)
    kev("CVE-2021-44228")
    services.enrich()
    path = kev(content=content)
    [_, outcome] = services.enrich()
    assert (outcome.state, str(path) in outcome.error) == ("failed", True)
    assert told in outcome.error, outcome.error
    assert (KnownExploited.objects.count(), rating()[2]) == (1, True)


def test_by_the_command(scanned, epss, kev, capsys, settings):
    scanned(LOG4J)
    epss(content=gzip.compress((HEAD + "CVE-2021-44228,0.9,0.99\n").encode()))
    call_command("enrich_findings")
    shown = capsys.readouterr().out
    assert "EPSS: read; 1 CVEs" in shown
    assert "KEV: no file is set; nothing is known" in shown
    assert "of 1 that is not known" in shown
    kev("CVE-2021-44228")
    call_command("enrich_findings", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["epss"]["state"], told["kev"]["state"], told["kev"]["rows"]) == ("unchanged", "read", 1)
    assert told["epss"]["dated"].startswith("2026-11-20T12:55")
    assert told["findings"] == {"unresolved": 1, "scored": 1, "known_exploited": 1, "not_known": 0}
    settings.KEV_FILE = "/nowhere/kev.json"
    with pytest.raises(SystemExit) as ended:
        call_command("enrich_findings", "--json")
    assert (ended.value.code, json.loads(capsys.readouterr().out)["kev"]["state"]) == (3, "failed")
    assert rating() == LISTED


def test_the_number_of_queries_does_not_grow_with_the_scores(epss, django_assert_max_num_queries):
    epss(*(f"CVE-2020-{n:05},0.1,0.2" for n in range(1, 12_000)))
    with django_assert_max_num_queries(30):
        assert states()[0] == "read"
