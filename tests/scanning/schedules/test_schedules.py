"""Schedules through API and admin, and what the beat's task makes of them."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from rbac.services import assign_role, create_unit, root_unit
from scanning.models import Asset, Scan
from scanning.schedules.models import Every, Schedule
from scanning.schedules.services import run_due, save_schedule
from tests.conftest import put
from tests.opssight.test_console import make_asset

JSON = "application/json"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)  # a Tuesday


@pytest.mark.parametrize(
    ("values", "then"),
    [
        ({"every": "hours", "hours": 6}, NOW + timedelta(hours=6)),
        ({"every": "day", "minute": 13 * 60}, NOW + timedelta(hours=1)),
        ({"every": "day", "minute": 12 * 60}, NOW + timedelta(days=1)),
        ({"every": "week", "weekday": 1, "minute": 12 * 60}, NOW + timedelta(days=7)),
        ({"every": "week", "weekday": 1, "minute": 12 * 60 + 1}, NOW + timedelta(minutes=1)),
        ({"every": "week", "weekday": 0, "minute": 0}, NOW + timedelta(days=5, hours=12)),
    ],
)
def test_the_next_moment_is_later_than_now(values, then):
    assert Schedule(**values).after(NOW) == then


def post(client, asset: Asset, **values):
    return client.post("/api/v1/schedules", {"asset": str(asset.uid), **values}, content_type=JSON)


def test_it_is_made_changed_and_removed_by_the_api(olga, client_for):
    client, asset = client_for(olga, step_up=True), make_asset()
    made = post(client, asset, scanner="bandit", every="hours", hours=12)
    assert made.status_code == 201, made.content
    assert post(client, asset, scanner="bandit").status_code == 409
    assert post(client, asset, scanner="nonsense").status_code == 400
    assert post(client, asset, every="hours", hours=0).status_code == 400
    assert post(client, asset, minute=1440).status_code == 400
    address, row = f"/api/v1/schedules/{made.json()['uid']}", Schedule.objects.get()
    assert row.made_by == olga
    headers = {"if-match": made.headers["ETag"]}
    changed = client.patch(address, {"is_active": False}, content_type=JSON, headers=headers)
    assert (changed.status_code, changed.json()["is_active"]) == (200, False)
    assert client.delete(address).status_code == 204
    assert not Schedule.objects.exists()


def test_it_is_made_in_the_admin(olga, client_for):
    client, asset = client_for(olga, step_up=True), make_asset()
    sent = {
        "asset": asset.pk,
        "scanner": "",
        "every": "day",
        "hours": 24,
        "minute": 60,
        "weekday": 0,
        "is_active": "on",
    }
    assert client.post("/admin/schedules/schedule/add/", sent).status_code == 302
    assert Schedule.objects.get().made_by == olga


def test_others_assets_are_out_of_sight_and_readers_make_none(dev, client_for):
    team = create_unit("Team", parent=root_unit())
    hidden, own = make_asset("hidden"), make_asset("own", team)
    person = User.objects.create(email="team@example.org")
    assign_role(person, "officer", unit=team, reason="test")
    client = client_for(person, step_up=True)
    assert post(client, hidden).status_code == 400
    assert post(client, own).status_code == 201
    assert post(client_for(dev), own, scanner="bandit").status_code == 403
    assert Schedule.objects.count() == 1


@pytest.fixture
def daily(olga) -> Schedule:
    row = Schedule(asset=make_asset(), scanner="bandit", every=Every.DAY, minute=180)
    return save_schedule(row, by=olga, at=timezone.now() - timedelta(days=10))


def test_what_was_missed_runs_once_and_two_beats_double_nothing(daily):
    now = timezone.now()
    assert run_due(now) == 1
    assert run_due(now) == 0
    scan = Scan.objects.get()
    assert (scan.trigger, scan.scanner, scan.requested_by) == ("schedule", "bandit", None)
    daily.refresh_from_db()
    assert now < daily.next_at <= now + timedelta(days=1)
    assert daily.last_at == now


def test_another_beat_that_read_the_same_row_takes_nothing(daily, monkeypatch):
    from scanning.schedules import services

    stale, now = Schedule.objects.get(), timezone.now()
    assert services._run(Schedule.objects.get(), now, ["bandit"]) == 1
    assert services._run(stale, now, ["bandit"]) == 0
    assert Scan.objects.count() == 1


def test_an_inactive_asset_or_schedule_is_not_scanned(daily):
    put(Asset.objects.all(), is_active=False)
    assert run_due() == 0
    put(Asset.objects.all(), is_active=True)
    put(Schedule.objects.all(), is_active=False)
    assert run_due() == 0
    assert not Scan.objects.exists()


def test_one_that_fails_is_kept_due_and_stops_no_other(daily, olga, monkeypatch):
    other = Schedule(asset=make_asset("other"), scanner="bandit")
    save_schedule(other, by=olga, at=timezone.now() - timedelta(days=3))
    put(Schedule.objects.filter(pk=daily.pk), scanner="gone")
    assert run_due() == 1
    assert Scan.objects.get().asset == other.asset
    assert Schedule.objects.due(at=timezone.now()).get() == daily
