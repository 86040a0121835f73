"""Sign-in through its pages: set-up link, second factor, lockout, and the ways around that must not exist."""

import re
import time

import pytest
from django.test import Client

from accounts.mfa.models import RecoveryCode, TOTPDevice, _code
from accounts.models import SetupLink, User
from accounts.services import issue_setup_link
from audit.models import AuditEntry
from rbac.models import RoleAssignment
from tests.conftest import PASSWORD, enrolled, make_person


def code_for(device: TOTPDevice, steps: int = 0) -> str:
    return _code(device.secret, int(time.time()) // 30 + steps)


def password_step(user: User, client: Client | None = None, **extra: str) -> Client:
    client = client or Client()
    response = client.post("/sign-in", {"username": user.email, "password": PASSWORD, **extra})
    assert response.status_code == 302, response.content
    return client


def entries(event: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(event=event).select_related("personal").order_by("id"))


@pytest.fixture
def link(db: None) -> str:
    return issue_setup_link().removeprefix("http://localhost:8000")


FIRST = {"email": "Olga@Example.org", "name": "Olga", "password": PASSWORD, "again": PASSWORD}


def test_the_first_officer_takes_possession_by_the_link(link):
    client = Client()
    assert client.get(link).status_code == 200
    assert client.post(link, FIRST)["Location"] == "/sign-in/enrol"
    page = client.get("/sign-in/enrol").content.decode()
    user = User.objects.get()
    device = TOTPDevice.objects.get(user=user)
    shown = re.search(r'id="secret"[^>]*>([^<]+)<', page)
    assert shown is not None
    assert shown[1].replace(" ", "").strip() == device.secret
    assert not device.confirmed
    assert client.get("/").status_code == 302  # not in yet

    codes_page = client.post("/sign-in/enrol", {"code": f" {code_for(device)[:3]} {code_for(device)[3:]} "})

    codes = set(re.findall(r"\b[0-9A-F]{8}\b", codes_page.content.decode()))
    assert len(codes) == 10
    assert client.get("/").status_code == 200
    assert user.email == "olga@example.org"
    held = set(RoleAssignment.objects.filter(user=user).values_list("role__key", flat=True))
    assert held == {"employee", "officer", "administrator"}
    assert Client().get(link).status_code == 404  # spent
    assert [e.actor_label for e in entries("sessions:started")] == ["olga@example.org"]
    assert not any(code in str(e.person) + str(e.changes) for e in AuditEntry.objects.all() for code in codes)


def test_a_link_for_an_existing_account_never_makes_an_administrator(db):
    person = make_person("Eve")
    link = issue_setup_link(person).removeprefix("http://localhost:8000")
    Client().post(link, {"password": PASSWORD, "again": PASSWORD})
    assert set(RoleAssignment.objects.filter(user=person).values_list("role__key", flat=True)) == {"employee"}


def test_a_link_does_not_lead_around_the_second_factor(olga):
    enrolled(olga)
    client = Client()
    client.post(issue_setup_link(olga).removeprefix("http://localhost:8000"), {"password": PASSWORD, "again": PASSWORD})
    assert client.get("/sign-in/enrol")["Location"] == "/sign-in/second-step"
    assert client.get("/").status_code == 302


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"again": "another passphrase"}, "The two passwords differ"),
        ({"password": "password", "again": "password"}, "too common"),
        ({"password": "short", "again": "short"}, "too short"),
        ({"email": "not an address"}, "valid email"),
        ({"email": "eve@example.org"}, "has an account already"),
    ],
)
def test_bad_set_up_values_are_refused_and_the_link_stays_good(link, eve, change, says):
    client = Client()
    response = client.post(link, FIRST | change)
    assert response.status_code == 400
    assert says in response.content.decode()
    assert client.post(link, FIRST).status_code == 302


@pytest.mark.parametrize("spoil", ["unknown", "expired", "replaced"])
def test_links_that_are_not_valid(link, spoil):
    if spoil == "unknown":
        link = link[:-1] + ("a" if link[-1] != "a" else "b")
    elif spoil == "expired":
        for row in SetupLink.objects.all():
            row.expires_at = row.created_at
            row.save()
    else:
        issue_setup_link()
    assert Client().get(link).status_code == 404
    assert Client().post(link, FIRST).status_code == 404
    assert not User.objects.exists()


def test_sign_in_takes_password_and_code_and_leads_to_the_page_asked_for(olga):
    device = enrolled(olga)
    client = Client()
    asked = client.get("/findings?status=open")
    assert asked["Location"] == "/sign-in?next=%2Ffindings%3Fstatus%3Dopen"
    password_step(olga, client, next="/findings?status=open")
    before = client.session.session_key
    response = client.post("/sign-in/second-step", {"code": code_for(device)})
    assert response["Location"] == "/findings?status=open"
    assert client.session.session_key != before  # no fixation
    assert client.get("/findings").status_code == 200


@pytest.mark.parametrize(
    "evil", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "http:///evil.example"]
)
def test_sign_in_never_leads_elsewhere(olga, evil):
    device = enrolled(olga)
    client = password_step(olga, next=evil)
    assert client.post("/sign-in/second-step", {"code": code_for(device)})["Location"] == "/"


@pytest.mark.parametrize(
    ("name", "password"),
    [("olga@example.org", "wrong"), ("nobody@example.org", PASSWORD), ("olga@example.org", PASSWORD + " ")],
)
def test_wrong_names_and_passwords_get_the_same_answer(olga, name, password):
    response = Client().post("/sign-in", {"username": name, "password": password})
    assert response.status_code == 400
    assert "E-mail or password is not right" in response.content.decode()
    entry = entries("sessions:refused")[-1]
    assert (entry.success, entry.person["data"]["name"]) == (False, name)
    assert PASSWORD not in str(entry.person) + str(entry.covered())


def test_names_are_one_whatever_their_spelling(olga):
    device = enrolled(olga)
    for spelling in ("OLGA@example.org", "olga@example.ORG ", "ｏlga@example.org"):
        client = Client()
        response = client.post("/sign-in", {"username": spelling, "password": PASSWORD})
        assert response.status_code == 302, spelling
    assert client.post("/sign-in/second-step", {"code": code_for(device)}).status_code == 302


def test_a_code_counts_once_and_guessing_slows_down(olga):
    device = enrolled(olga)
    code = code_for(device)
    assert password_step(olga).post("/sign-in/second-step", {"code": code}).status_code == 302
    client = password_step(olga)
    assert "not right" in client.post("/sign-in/second-step", {"code": code}).content.decode()
    device.refresh_from_db()
    assert device.throttling_failure_count == 1
    right_but_early = client.post("/sign-in/second-step", {"code": code_for(device, 1)})
    assert "Too many wrong codes" in right_but_early.content.decode()
    assert client.get("/").status_code == 302
    assert len(entries("mfa:refused")) == 2


def test_recovery_codes_work_once_each(olga, client_for):
    enrolled(olga)
    client = client_for(olga)
    page = client.post("/my-security/recovery-codes", {"code": code_for(enrolled(olga))}).content.decode()
    codes = sorted(set(re.findall(r"\b[0-9A-F]{8}\b", page)))
    assert len(codes) == 10
    spelled = f"{codes[0][:4].lower()}-{codes[0][4:].lower()}"
    assert password_step(olga).post("/sign-in/second-step", {"code": spelled}).status_code == 302
    assert password_step(olga).post("/sign-in/second-step", {"code": codes[0]}).status_code == 400
    assert RecoveryCode.objects.filter(device__user=olga, used_at=None).count() == 9
    assert not set(codes) & set(RecoveryCode.objects.values_list("code_hash", flat=True))


def test_new_codes_need_a_code_and_end_the_old_ones(olga, client_for):
    client, device = client_for(olga), enrolled(olga)
    assert client.post("/my-security/recovery-codes", {"code": "000000"}).status_code == 400
    assert not RecoveryCode.objects.exists()
    assert client.post("/my-security/recovery-codes", {"code": "AAAAAAAA"}).status_code == 400
    TOTPDevice.objects.filter(pk=device.pk).update(throttling_failure_count=0)
    assert client.post("/my-security/recovery-codes", {"code": code_for(device)}).status_code == 200
    old = set(RecoveryCode.objects.values_list("pk", flat=True))
    TOTPDevice.objects.filter(pk=device.pk).update(last_step=-1)
    client.post("/my-security/recovery-codes", {"code": code_for(device)})
    assert not RecoveryCode.objects.filter(pk__in=old).exists()


def test_five_failures_lock_the_pair_of_name_and_address_and_no_other(olga):
    enrolled(olga)
    stranger = Client(REMOTE_ADDR="203.0.113.9")
    spellings = ["olga@example.org", "OLGA@example.org", "Olga@example.org", "olga@EXAMPLE.org", "oLga@example.org"]
    answers = [stranger.post("/sign-in", {"username": name, "password": "wrong"}).status_code for name in spellings]
    assert answers[:4] == [400] * 4
    assert answers[4] == 429
    locked = stranger.post("/sign-in", {"username": olga.email, "password": PASSWORD})
    assert locked.status_code == 429
    assert len(entries("accounts:locked")) >= 1
    password_step(olga, Client(REMOTE_ADDR="10.0.0.7"))  # the owner, elsewhere, is not locked out


def test_revoking_ends_a_session_at_its_next_request(olga, client_for):
    client = client_for(olga)
    assert client.get("/").status_code == 200
    olga.auth_epoch += 1
    olga.save()
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("moment", ["signed in", "between the steps", "before"])
def test_a_deactivated_account_is_out_at_once(olga, client_for, moment):
    device = enrolled(olga)
    client = client_for(olga) if moment == "signed in" else Client()
    if moment == "between the steps":
        password_step(olga, client)
    olga.is_active = False
    olga.save()
    if moment == "signed in":
        assert client.get("/").status_code == 302
    elif moment == "between the steps":
        client.post("/sign-in/second-step", {"code": code_for(device)})
        assert client.get("/").status_code == 302
    else:
        assert client.post("/sign-in", {"username": olga.email, "password": PASSWORD}).status_code == 400


def test_losing_the_device_row_ends_the_session(olga, client_for):
    client = client_for(olga)
    TOTPDevice.objects.get(user=olga).delete()
    assert client.get("/").status_code == 302


def test_sign_out_is_a_post_and_leaves_an_entry(olga, client_for):
    client = client_for(olga)
    assert client.get("/sign-out").status_code == 405
    assert client.post("/sign-out").status_code == 302
    assert client.get("/").status_code == 302
    assert [e.actor_label for e in entries("sessions:ended")] == [olga.email]


def test_forms_without_their_token_are_refused(olga):
    client = Client(enforce_csrf_checks=True)
    assert client.post("/sign-in", {"username": olga.email, "password": PASSWORD}).status_code == 403


def test_nobody_can_be_made_a_superuser(olga):
    from django.db import IntegrityError, transaction

    olga.is_superuser = True
    with pytest.raises(IntegrityError), transaction.atomic():
        olga.save()


@pytest.mark.parametrize("field", ["username", "password"])
@pytest.mark.parametrize("value", ["\0", "x" * 5000, "\ud800".encode("utf-8", "surrogatepass"), ""])
def test_odd_input_is_a_400(olga, field, value):
    data = {"username": olga.email, "password": PASSWORD} | {field: value}
    assert Client().post("/sign-in", data).status_code == 400
