"""The trail's pages: what they say of the whole log, of one object, one request, one entry and of days."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from audit import guard
from audit.models import AuditEntry
from audit.sealing.models import Checkpoint, Delivery, Leaf, Verification
from audit.sealing.sealer import seal
from audit.sealing.verification import verify_and_keep
from rbac.models import Unit
from rbac.services import create_unit, root_unit
from tests.opssight.test_console import make_asset, make_findings, make_scan, text


@pytest.fixture
def officer(olga, client_for) -> Client:
    return client_for(olga, step_up=True)


@pytest.fixture
def unit(db) -> Unit:
    unit = create_unit("Payments", parent=root_unit())
    unit.name = "Billing <b>"
    unit.save()
    return unit


def banner(client: Client) -> tuple[str, str]:
    """The colour of the note above the list, and its words."""
    page = client.get("/trail").content.decode()
    found = re.search(r'<div class="note ?(\w*)" role="status" id="sealed">(.*?)</div>', page, re.S)
    assert found
    return found[1], " ".join(re.sub(r"<[^>]+>", " ", found[2]).split())


def delivered(**values) -> None:
    newest = Checkpoint.objects.newest()
    Delivery.objects.update_or_create(
        checkpoint=newest, anchor="file", defaults={"next_try": timezone.now(), "at": None, **values}
    )


# --- the whole log --------------------------------------------------------------------------------------------------


def test_what_was_never_verified_is_not_called_verified(officer, unit):
    colour, words = banner(officer)
    assert (colour, "Not verified yet" in words) == ("hatched", True)
    assert "not anchored" in words.lower()
    assert re.search(r"\d+ entries wait to be sealed", words)


def test_verified_and_not_anchored_is_not_green(officer, unit):
    seal()
    verify_and_keep()
    colour, words = banner(officer)
    assert colour == ""
    assert f"Verified up to #{Checkpoint.objects.newest().size - 1}, not anchored" in words


def test_green_takes_a_verification_and_an_anchor(officer, unit, settings):
    settings.ANCHOR_URL = "https://anchor.example.org/"
    seal()
    verify_and_keep()
    assert "Not anchored yet" in banner(officer)[1]
    assert banner(officer)[0] == "hatched"
    delivered(at=timezone.now())
    colour, words = banner(officer)
    assert (colour, "anchored" in words, "not anchored" in words.lower()) == ("clean", True, False)


def test_an_anchor_that_fails_is_said(officer, unit, settings):
    settings.ANCHOR_URL = "https://anchor.example.org/"
    seal()
    verify_and_keep()
    delivered(error="it answered 503")
    colour, words = banner(officer)
    assert (colour, "it answered 503" in words) == ("failed", True)


def test_a_verification_of_long_ago_is_stale(officer, unit):
    seal()
    verify_and_keep()
    Verification.objects.update(verified_at=timezone.now() - timedelta(days=3))
    assert banner(officer)[0] == "stale"


def test_a_changed_entry_is_named_and_no_later_look_at_what_is_new_hides_it(officer, unit):
    seal()
    entry = AuditEntry.objects.filter(resource_type="rbac.unit").latest("id")
    guard.remove(connection)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_auditentry SET error_message = 'x' WHERE id = %s", [entry.pk])
    guard.install(connection)
    verify_and_keep()
    verify_and_keep(since_last=True)
    colour, words = banner(officer)
    assert (colour, "Verification failed" in words) == ("failed", True)
    assert f"entry changed at #{entry.leaf.position}" in words


def test_a_verification_that_did_not_get_through_is_no_verdict(officer, unit, settings, tmp_path):
    seal()
    verify_and_keep()
    Verification.objects.update(verdict="error", error="the anchor file is gone")
    colour, words = banner(officer)
    assert (colour, "did not get through" in words) == ("failed", True)
    assert "Whether the trail is in order is not known" in words
    assert "Verified up to" not in words


# --- one object, one request, one entry -----------------------------------------------------------------------------


def test_the_history_of_an_object_shows_what_each_change_was(officer, unit):
    page = officer.get(f"/trail?resource_type=rbac.unit&resource_id={unit.uid}").content.decode()
    assert "<h1>History of Billing &lt;b&gt;</h1>" in page
    assert "<del>Payments</del>" in page
    assert "<ins>Billing &lt;b&gt;</ins>" in page
    assert "hx-get" not in page.partition("<tbody>")[2]


def test_pages_of_objects_lead_to_their_history(officer, db):
    scan = make_scan(make_asset())
    finding = make_findings(scan)[0]
    for address, kind, uid in [
        (f"/findings/{finding.uid}", "scanning.finding", finding.uid),
        (f"/scans/{scan.uid}", "scanning.scan", scan.uid),
    ]:
        assert f"/trail?resource_type={kind}&amp;resource_id={uid}" in officer.get(address).content.decode()
        assert f'href="{address}"' in officer.get(f"/trail?resource_type={kind}&resource_id={uid}").content.decode()
    assert officer.get("/trail?resource_type=scanning.finding&resource_id=none").status_code == 200
    history = officer.get(f"/admin/accounts/user/{officer.session['_auth_user_id']}/history/")
    assert "/trail?resource_type=accounts.user&resource_id=" in history["Location"]


def test_all_of_one_request_stands_together(olga, eve, client_for):
    client = client_for(eve)
    answer = client.post("/sign-out")
    client.get("/trail")
    page = client_for(olga).get(f"/trail?request_id={answer['X-Request-ID']}").content.decode()
    page = page.partition("Trail entries, newest first")[2]
    assert "sessions:ended" in page
    assert "access:denied" not in page


def test_an_entry_waits_then_has_its_place(officer, unit):
    entry = AuditEntry.objects.filter(resource_type="rbac.unit").latest("id")
    waits = text(officer.get(f"/trail/{entry.uid}"))
    assert "It waits to be sealed" in waits
    seal()
    sealed = text(officer.get(f"/trail/{entry.uid}"))
    position = Leaf.objects.get(entry=entry).position
    assert f"#{position}" in sealed
    assert "waits" not in sealed
    assert "quarantined" not in sealed.lower()
    proof = re.search(
        r'href="(/api/v1/trail/[^"]+/proof)" download', officer.get(f"/trail/{entry.uid}").content.decode()
    )
    assert officer.get(proof[1]).json()["position"] == position
    assert f">#{position}<" in officer.get("/trail").content.decode()


def test_a_forged_entry_is_shown_as_quarantined(officer, unit):
    AuditEntry.objects.bulk_create([AuditEntry(event="roles:assigned", mac="0" * 64)])
    seal()
    entry = AuditEntry.objects.get(mac="0" * 64)
    assert "quarantined" in text(officer.get("/trail?event=roles:assigned"))
    assert "its MAC was wrong" in text(officer.get(f"/trail/{entry.uid}"))


def test_an_erased_person_is_shown_as_erased(officer, olga, eve, client_for):
    client_for(eve).get("/trail", REMOTE_ADDR="203.0.113.9")
    entry = AuditEntry.objects.get(event="access:denied")
    before = text(officer.get("/trail?event=access:denied"))
    assert "eve@example.org" in before
    entry.personal.delete()
    for address in ("/trail?event=access:denied", f"/trail/{entry.uid}"):
        after = text(officer.get(address))
        assert "eve@example.org" not in after
        assert "203.0.113.9" not in after
        assert f"erased person, account {eve.pk}" in after


# --- days -----------------------------------------------------------------------------------------------------------


def test_each_day_leads_to_exactly_its_sealed_entries(officer, unit):
    seal()
    today = timezone.now().date()
    page = officer.get("/trail").content.decode()
    row = re.search(rf'<a href="(\?since={today}&amp;until={today})">[^<]+</a></th><td class="num">(\d+)</td>', page)
    assert row
    assert int(row[2]) == Leaf.objects.count()
    found = text(officer.get("/trail" + row[1].replace("&amp;", "&")))
    assert f"{row[2]} entries" in found


def test_the_days_are_those_asked_for(officer, unit):
    page = officer.get("/trail?since=2026-01-05&until=2026-02-03").content.decode()
    assert re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)<', page)[::29] == ["5 Jan 2026", "3 Feb 2026"]
    assert officer.get("/trail?since=2000-01-01&until=2000-01-02").status_code == 200
    assert officer.get("/trail?since=2199-12-31").status_code == 200
