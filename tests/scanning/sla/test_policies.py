"""Deadlines by unit: which policy holds, what is refused, and what a change does to findings that wait."""

from datetime import timedelta
from io import BytesIO

import pytest
from django.utils import timezone

from audit.models import AuditEntry
from opssight.kernel.jobs import State
from rbac.services import assign_role, create_unit, root_unit
from scanning.deadlines.renewal import renew
from scanning.imports.services import import_report
from scanning.inventory import asset_at
from scanning.models import Finding, Severity, Status
from scanning.sla.models import Renewal, SlaPolicy
from scanning.sla.services import BUILT_IN, hours_of
from scanning.triage import services as triage
from tests.conftest import make_person, put
from tests.scanning.imports.test_imports import report
from tests.scanning.triage.conftest import WHY, scanned

pytestmark = pytest.mark.django_db
URL = "/api/v1/sla-policies"


@pytest.fixture
def units(db):
    team = create_unit("Team", parent=root_unit())
    return root_unit(), team, create_unit("System", parent=team)


@pytest.fixture
def send(olga, client_for):
    client = client_for(olga)

    def ask(method: str, path: str = "", data=None, **headers: str):
        return getattr(client, method)(f"{URL}{path}", data, content_type="application/json", headers=headers)

    return ask


def work() -> None:
    for renewal in Renewal.objects.filter(state=State.QUEUED).order_by("pk"):
        renew(renewal.pk)


def hours_left(finding: Finding) -> float | None:
    finding.refresh_from_db()
    since = finding.counted_from or finding.first_seen_at
    return None if finding.due_at is None else (finding.due_at - since).total_seconds() / 3600


def test_the_nearest_unit_with_a_policy_decides(units, send):
    root, team, system = units
    assert {unit.name: hours_of(unit.pk) for unit in units} == dict.fromkeys([u.name for u in units], BUILT_IN)
    assert send("post", data={"unit": str(root.uid), "critical": 48}).status_code == 201
    assert send("post", data={"unit": str(team.uid), "critical": 12, "high": 24}).status_code == 201
    assert [hours_of(unit.pk)[Severity.CRITICAL] for unit in units] == [48, 12, 12]
    told = send("get", f"/in-force?unit={system.uid}").json()
    assert (told["set_at"], told["critical"], told["high"], told["low"]) == (str(team.uid), 12, 24, None)
    assert send("get", "/in-force?unit=01a20bd9-1d59-7949-b8ec-209801f0f979").status_code == 404


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        ({"critical": 0}, "greater than or equal to 1"),
        ({"critical": -5}, "greater than or equal to 1"),
        ({"critical": 10**9}, "less than or equal to"),
        ({"critical": 1.5}, "integer"),
        ({"critical": 48, "low": 24}, "less severe"),
        ({"low": 24}, "has no deadline"),
        ({"high": 24, "medium": 24, "info": 12}, "less severe"),
    ],
)
def test_what_is_no_order_of_hours_is_refused(units, send, hours, told):
    answer = send("post", data={"unit": str(units[1].uid), **hours})
    assert answer.status_code == 400
    assert told in answer.content.decode()
    assert not SlaPolicy.objects.exists()
    assert not Renewal.objects.exists()


def test_a_unit_has_one_policy_and_keeps_it(units, send):
    made = send("post", data={"unit": str(units[1].uid), "critical": 12})
    assert send("post", data={"unit": str(units[1].uid), "critical": 13}).status_code == 409
    path = f"/{made.json()['uid']}"
    moved = send("patch", path, {"unit": str(units[2].uid)}, **{"if-match": made["ETag"]})
    assert moved.status_code == 400
    assert SlaPolicy.objects.get().unit == units[1]


def test_others_neither_see_nor_set_what_is_not_theirs(units, client_for):
    root, team, system = units
    other = create_unit("Other", parent=root)
    SlaPolicy.objects.create(unit=other, critical=1)
    lead = make_person("Lead")
    assign_role(lead, "officer", unit=team, reason="test")
    dev = make_person("Dev")
    assign_role(dev, "developer", unit=team, reason="test")
    lead, dev = client_for(lead), client_for(dev)
    ask = {"content_type": "application/json"}
    assert lead.get(URL).json()["results"] == []
    assert lead.post(URL, {"unit": str(other.uid), "critical": 9}, **ask).status_code == 400
    assert lead.post(URL, {"unit": str(system.uid), "critical": 9}, **ask).status_code == 201
    assert dev.post(URL, {"unit": str(team.uid), "critical": 9}, **ask).status_code == 403
    assert dev.get(f"{URL}/in-force?unit={system.uid}").json()["critical"] == 9
    assert dev.get(f"{URL}/in-force?unit={other.uid}").status_code == 404


def test_a_change_moves_the_deadlines_below_its_unit_and_no_others(units, send, tmp_path):
    _, team, _ = units
    for n, unit in enumerate(units):
        scanned(asset_at(tmp_path / str(n), unit=unit), 1)
    above, here, below = Finding.objects.order_by("pk")
    fixed = Finding.objects.create(
        asset=here.asset, scanner="x", fingerprint="1", rule="r", title="t", severity=Severity.HIGH, path="p",
        first_seen_at=timezone.now(), last_seen_at=timezone.now(), first_scan=here.first_scan,
        last_scan=here.first_scan, status=Status.FIXED, fixed_at=timezone.now(),
    )  # fmt: skip
    made = send("post", data={"unit": str(team.uid), "critical": 5, "high": 10})
    work()
    assert [hours_left(row) for row in (above, here, below, fixed)] == [168, 10, 10, None]
    moved = AuditEntry.objects.filter(event="findings:deadline_moved")
    assert {entry.resource_id for entry in moved} == {str(here.uid), str(below.uid)}
    assert AuditEntry.objects.get(event="sla-policies:renewed").additional_data["moved"] == 2
    renew(Renewal.objects.latest("pk").pk)  # a message that comes twice
    assert moved.count() == 2
    path = f"/{made.json()['uid']}"
    changed = send("patch", path, {"high": None, "critical": None}, **{"if-match": made["ETag"]})
    assert changed.status_code == 200, changed.content
    work()
    assert [hours_left(row) for row in (above, here, below)] == [168, None, None]
    assert send("delete", path).status_code == 204
    work()
    assert [hours_left(row) for row in (above, here, below)] == [168, 168, 168]
    changes = AuditEntry.objects.filter(event="sla-policies:changed").order_by("pk")
    assert [entry.additional_data["change"] for entry in changes] == ["created", "updated", "deleted"]


def test_the_clock_goes_on_from_where_it_began(units, send, tmp_path, olga):
    asset = asset_at(tmp_path, unit=units[1])
    scanned(asset, 1, 2)
    long_ago = timezone.now() - timedelta(days=40)
    put(Finding.objects.all(), first_seen_at=long_ago)
    seen, again = Finding.objects.order_by("pk")
    triage.decide(again, Status.FALSE_POSITIVE, by=olga, reason=WHY)
    triage.decide(again, Status.OPEN, by=olga, reason=WHY)
    send("post", data={"unit": str(units[1].uid), "critical": 5, "high": 10})
    work()
    seen.refresh_from_db()
    again.refresh_from_db()
    assert seen.due_at == long_ago + timedelta(hours=10)
    assert timezone.now() < again.due_at < timezone.now() + timedelta(hours=10)


def test_an_import_asks_once_and_gives_the_units_deadlines(units, tmp_path, django_assert_max_num_queries):
    SlaPolicy.objects.create(unit=units[1], critical=2, high=3)
    asset = asset_at(tmp_path, unit=units[2])
    places = [f"shop.py:{line}" for line in range(1, 301)]
    with django_assert_max_num_queries(60):
        import_report(asset, BytesIO(report(*places)), format="bandit")
    assert {hours_left(row) for row in Finding.objects.all()} == {3}
