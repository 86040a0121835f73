"""Claims, leases and fencing, on the scan as the job there is."""

from datetime import timedelta

import pytest
from django.utils import timezone

from opssight.kernel import jobs
from scanning.inventory import asset_at
from scanning.models import Scan, ScanState
from scanning.services import request_scan


@pytest.fixture
def scan(db, tmp_path) -> Scan:
    return request_scan(asset_at(tmp_path), dispatch=False)


@pytest.fixture
def sent(monkeypatch) -> list[int]:
    """Ids that would have gone to the broker."""
    ids: list[int] = []
    monkeypatch.setattr(Scan, "dispatch", lambda self: ids.append(self.pk))
    return ids


def later(**kwargs: float):
    return timezone.now() + timedelta(**kwargs)


def test_a_job_is_claimed_once(scan):
    assert Scan.claim(scan.pk) is not None
    assert Scan.claim(scan.pk) is None


def test_a_lapsed_lease_can_be_taken_over_and_fences_the_first_worker_off(scan):
    first = Scan.claim(scan.pk)
    Scan.objects.filter(pk=scan.pk).update(lease_until=later(seconds=-1))
    second = Scan.claim(scan.pk)
    assert (first.attempts, second.attempts) == (1, 2)
    for write in (first.hold, lambda: first.finish(ScanState.COMPLETED)):
        with pytest.raises(jobs.LeaseLost):
            write()
    second.finish(ScanState.COMPLETED)
    assert Scan.objects.get(pk=scan.pk).state == ScanState.COMPLETED


def test_a_finished_job_is_never_claimed_or_changed_again(scan):
    held = Scan.claim(scan.pk)
    held.finish(ScanState.COMPLETED)
    assert Scan.claim(scan.pk) is None
    with pytest.raises(jobs.LeaseLost):
        held.hold()


def test_holding_renews_the_lease(scan):
    held = Scan.claim(scan.pk)
    Scan.objects.filter(pk=scan.pk).update(lease_until=later(seconds=1))
    held.hold(part="django")
    row = Scan.objects.get(pk=scan.pk)
    assert row.lease_until > later(seconds=30)
    assert row.part == "django"


def test_a_lost_message_is_sent_again_after_a_while_and_not_every_time(scan, sent):
    assert jobs.requeue_overdue(at=timezone.now()) == 0
    assert jobs.requeue_overdue(at=later(minutes=3)) == 1
    assert jobs.requeue_overdue(at=later(minutes=3)) == 0
    assert sent == [scan.pk]


def test_a_job_whose_worker_died_is_sent_again(scan, sent):
    Scan.claim(scan.pk)
    assert jobs.requeue_overdue(at=later(seconds=30)) == 0
    assert jobs.requeue_overdue(at=later(minutes=2)) == 1
    assert Scan.claim(scan.pk) is None  # the lease still runs on this clock
    assert sent == [scan.pk]


def test_a_job_that_kills_its_workers_is_given_up_with_a_reason(scan, sent):
    for _ in range(jobs.MAX_ATTEMPTS):
        assert Scan.claim(scan.pk)
        Scan.objects.filter(pk=scan.pk).update(lease_until=later(seconds=-1))
    assert jobs.requeue_overdue(at=timezone.now()) == 0
    row = Scan.objects.get(pk=scan.pk)
    assert (row.state, row.reason) == (ScanState.FAILED, jobs.LOST)
    assert sent == []
