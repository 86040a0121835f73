"""manage.py evaluate_controls: what it prints and how it ends."""

import json
from datetime import datetime

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from audit.models import AuditEntry
from compliance import services
from compliance.checks import base
from compliance.models import Control, Result
from tests.compliance.factories import make_asset, make_scan
from tests.conftest import enrolled


def run(capsys, *args: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        call_command("evaluate_controls", *args)
    return end.value.code, capsys.readouterr().out


@pytest.fixture
def met(olga):
    """A world in which all three controls are met."""
    enrolled(olga)
    make_scan(asset := make_asset("shop"))
    return asset


def test_all_met_is_0_and_the_json_has_the_contract_s_keys(met, capsys):
    code, out = run(capsys, "--json")
    answer = json.loads(out)
    assert code == 0
    assert [entry["control"] for entry in answer] == ["iam.mfa.privileged", "vuln.cadence", "vuln.sla.critical"]
    for entry in answer:
        assert (entry["state"], entry["population"], entry["failed"], entry["rows"]) == ("pass", 1, 0, [])
        assert datetime.fromisoformat(entry["evaluated_at"]).tzinfo
        assert Result.objects.get(uid=entry["result"]).state == "pass"


def test_one_not_met_is_1_and_its_failing_rows_are_told(met, capsys):
    new = make_asset("new")
    code, out = run(capsys, "--json")
    entry = next(entry for entry in json.loads(out) if entry["control"] == "vuln.cadence")
    assert (code, entry["state"], entry["population"], entry["failed"]) == (1, "fail", 2, 1)
    assert [(row["uid"], row["label"]) for row in entry["rows"]] == [(str(new.uid), "new")]


def test_unknown_is_1_since_it_is_no_pass(db, capsys):
    code, out = run(capsys, "--json")
    assert code == 1
    assert {entry["state"] for entry in json.loads(out)} == {"unknown"}


def test_a_test_that_failed_is_3_whatever_the_others_say(met, capsys, monkeypatch):
    make_asset("new")
    monkeypatch.setitem(base.registry, "vuln.sla.critical", lambda params, at: 1 / 0)
    code, out = run(capsys, "--json")
    assert code == 3
    assert [entry["state"] for entry in json.loads(out)] == ["pass", "fail", "error"]


def test_people_read_a_line_for_each(met, capsys):
    code, out = run(capsys)
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["Met", "iam.mfa.privileged"], ["Met", "vuln.cadence"], ["Met", "vuln.sla.critical"],
    ]  # fmt: skip
    entry = AuditEntry.objects.filter(event="controls:evaluated").latest("id")
    assert entry.actor_kind == "command"
    assert entry.actor_label.startswith("manage.py evaluate_controls (")


def test_an_empty_catalogue_or_no_database_is_3_and_never_all_met(db, monkeypatch):
    Control.objects.all().delete()
    with pytest.raises(CommandError, match="no control") as end:
        call_command("evaluate_controls")
    assert end.value.returncode == 3

    def gone():
        raise OperationalError("no such table")

    monkeypatch.setattr(services, "evaluate_all", gone)
    with pytest.raises(CommandError, match="no such table") as end:
        call_command("evaluate_controls")
    assert end.value.returncode == 3


def test_unknown_options_are_2(db):
    with pytest.raises(CommandError):
        call_command("evaluate_controls", "--framework=soc2")
