"""The page Deadlines, and what the overview says of them."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from rbac.services import assign_role, create_unit, root_unit
from scanning.models import Severity, Status
from scanning.sla.models import SlaPolicy
from tests.conftest import make_person
from tests.opssight.test_console import make_asset, make_findings, make_scan, text

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def officer(olga, client_for):
    return client_for(olga)


@pytest.fixture
def units(db):
    team = create_unit("Team", parent=root_unit())
    system = create_unit("System", parent=team)
    for unit in (root_unit(), team, system):
        make_asset(f"of {unit.name}", unit)
    create_unit("Without assets", parent=root_unit())
    SlaPolicy.objects.create(unit=team, critical=12, high=36, medium=240)
    return root_unit(), team, system


def in_force(page: str) -> dict[str, list[str]]:
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th>((?:<td.*?</td>){6})</tr>', page)
    return {unit: [re.sub("<[^>]+>", "", cell) for cell in re.findall("<td.*?</td>", cells)] for unit, cells in rows}


def test_the_policy_in_force_of_each_unit_and_whose_it_is(officer, units):
    page = officer.get("/deadlines").content.decode()
    assert in_force(page) == {
        units[0].name: ["24 h", "7 d", "30 d", "90 d", "none", "built in"],
        "Team": ["12 h", "36 h", "10 d", "none", "none", "here"],
        "System": ["12 h", "36 h", "10 d", "none", "none", "Team"],
    }
    assert "/admin/sla/slapolicy/" in page


def test_each_sees_their_own_units(client_for, units):
    dev = make_person("Dev")
    assign_role(dev, "developer", unit=units[2], reason="test")
    page = client_for(dev).get("/deadlines").content.decode()
    assert in_force(page).keys() == {"System"}
    assert "/admin/sla/" not in page
    assert client_for(make_person("Eve")).get("/deadlines").status_code == 403


def test_the_share_has_numerator_denominator_and_what_is_not_known(officer):
    now, scan = timezone.now(), make_scan(make_asset())
    make_findings(scan, 19, Severity.HIGH, status=Status.FIXED, fixed_at=now - DAY, due_at=now)
    make_findings(scan, 2, Severity.LOW, due_at=now - DAY)
    make_findings(scan, 3, Severity.LOW, due_at=now + DAY)
    make_findings(scan, 4, Severity.HIGH, status=Status.ACCEPTED, due_at=now - DAY)
    make_asset("never")
    page = text(officer.get("/deadlines"))
    assert "Within SLA 90.4 % 19 of 21, the last 30 days" in page
    assert "Past deadline 2" in page
    assert "Due soon 3" in page
    assert "4 accepted" in page
    assert "On 1 of 2 assets something is not known" in page
    assert "the last 90 days" in text(officer.get("/deadlines?days=90"))
    assert officer.get("/deadlines?days=8").status_code == 404


def test_nothing_counted_is_not_a_hundred_percent(officer):
    make_scan(make_asset())
    page = text(officer.get("/deadlines"))
    assert "Nothing counted" in page
    assert "100.0" not in page


def test_the_overview_promises_no_hours_and_shows_information_that_is_due(officer):
    scan = make_scan(make_asset())
    make_findings(scan, 1, Severity.HIGH, due_at=timezone.now() + DAY / 2)
    page = officer.get("/").content.decode()
    assert "critical 24 h" not in page
    assert 'id="to-deadlines" href="/deadlines"' in page
    table = page[page.index('id="t-due"') :]
    assert "Information" not in table[: table.index("</table>")]
    make_findings(scan, 1, Severity.INFO, due_at=timezone.now() + DAY / 2)
    table = officer.get("/").content.decode().partition('id="t-due"')[2].partition("</table>")[0]
    assert '<th scope="col" class="num">Info</th>' in table
