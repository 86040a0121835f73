"""Encrypted fields: bound to their row, never plain, rotated; and what people tell of themselves."""

import base64
import json
import signal
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.mfa.models import TOTPDevice
from accounts.models import User
from accounts.personal.models import Collection, PersonalDetails
from accounts.personal.services import details_of, set_own
from audit.models import AuditEntry
from opssight.kernel import fieldkeys
from opssight.kernel.crypto import NotEncrypted, Undecryptable
from opssight.settings.env import BASE_DIR
from rbac.models import Role
from rbac.role_book import save_role
from rbac.services import assign_role
from tests.conftest import enrolled, make_person, put

pytestmark = pytest.mark.django_db
PHONE, SSN = "+49 30 901844", "65 070803 F 018"


def patch(client: Client, **data: Any) -> Any:
    return client.patch("/api/v1/me", json.dumps(data), content_type="application/json")


def reveal(client: Client, details: PersonalDetails, **data: Any) -> Any:
    body = {"field": "phone_number", "reason": "She did not come to work today."} | data
    address = f"/api/v1/personal-details/{details.uid}/reveal"
    return client.post(address, json.dumps(body), content_type="application/json")


@pytest.fixture
def collected() -> Collection:
    return Collection.objects.create(name="ssn", enabled=True, reason="Payroll law")


@pytest.fixture
def eves(eve: User, collected) -> PersonalDetails:
    return set_own(eve, phone_number=PHONE, ssn=SSN)


def swap(one: Any, other: Any, column: str) -> None:
    put(type(one).objects.filter(pk=one.pk), **{column: getattr(other, column)})


def check() -> tuple[int, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command("rotate_field_keys", "--check", stdout=out, stderr=err)
    except SystemExit as end:
        return int(str(end.code)), err.getvalue()
    return 0, out.getvalue()


# --- the field ----------------------------------------------------------------------------------------------------


def test_the_columns_that_are_encrypted():
    assert sorted(f"{model._meta.label_lower}.{name}" for model, name in fieldkeys.columns()) == [
        "mfa.messagedevice.address",
        "mfa.totpdevice.secret",
        "notify.notice.text",
        "opssight.idempotencyrecord.answer",
        "personal.personaldetails.phone_number",
        "personal.personaldetails.ssn",
        "scanning.asset.secret",
        "sso.identity.claims",
        "sso.provider.client_secret",
        "sso.providerlogin.id_token",
        "tokens.signingkey.private",
    ]


def test_what_is_stored_holds_no_word_of_it(eves):
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM personal_personaldetails")
        row = str(cursor.fetchall())
    assert "901844" not in row
    assert "65070803F018" not in row
    assert row.count("v1.") == 2


def test_one_moved_to_another_row_or_column_does_not_decrypt(eves, dev):
    other = set_own(dev, phone_number="+49 30 901821")
    swap(eves, other, "phone_number_encrypted")
    eves.refresh_from_db()
    with pytest.raises(Undecryptable):
        _ = eves.phone_number
    put(PersonalDetails.objects.filter(pk=other.pk), ssn_encrypted=other.phone_number_encrypted)
    other.refresh_from_db()
    with pytest.raises(Undecryptable):
        _ = other.ssn
    code, said = check()
    assert code == 1
    assert f"personal_personaldetails.phone_number_encrypted, row {eves.uid}" in said
    assert f"personal_personaldetails.ssn_encrypted, row {other.uid}" in said


@pytest.mark.parametrize(
    "plain", ["+4930901844", "v1", "v1.k1.", "v1.k1.%%%", "v1.unknown.AAAA", "v2.k1.AAAA", "…", "."]
)
def test_plain_text_or_rubbish_in_the_column_is_an_error(eves, plain):
    put(PersonalDetails.objects.all(), phone_number_encrypted=plain)
    eves.refresh_from_db()
    with pytest.raises(Undecryptable) as said:
        _ = eves.phone_number
    assert isinstance(said.value, NotEncrypted) is not plain.startswith("v1.")
    assert check()[0] == 1


def test_a_secret_in_plain_text_lets_nobody_in(eve):
    from tests.accounts.test_sign_in import code_for, password_step

    device = enrolled(eve)
    code, secret = code_for(device), device.secret
    client = password_step(eve)
    client.raise_request_exception = False
    put(TOTPDevice.objects.all(), secret_encrypted=secret)
    assert client.post("/sign-in/second-step", {"code": code}).status_code == 400
    assert client.get("/my-security").status_code == 302


# --- rotation -----------------------------------------------------------------------------------------------------

K1, K2 = (base64.urlsafe_b64encode(bytes(range(n, n + 32))).decode() for n in (0, 32))
RINGS = {"old": f"k1:{K1}", "both": f"k2:{K2},k1:{K1}", "new": f"k2:{K2}"}


def run(environment: dict[str, str], ring: str, *command: str) -> subprocess.CompletedProcess[str]:
    env = {**environment, "OPSSIGHT_FIELD_KEYS": RINGS[ring]}
    return subprocess.run(
        [sys.executable, *command], cwd=BASE_DIR, env=env, text=True, capture_output=True, timeout=120
    )


def test_killed_in_the_middle_and_run_again_everything_is_under_the_new_key(environment):
    driver = "tests/accounts/personal/driver.py"
    assert run(environment, "old", driver, "write", "35").returncode == 0
    assert run(environment, "both", driver, "stop-after", "25").returncode == -signal.SIGKILL
    assert json.loads(run(environment, "both", driver, "look").stdout) == {"k2": 20, "k1": 15}

    too_early = run(environment, "new", "manage.py", "rotate_field_keys", "--check")
    assert too_early.returncode == 1
    assert too_early.stderr.count("no longer has") == 15

    again = run(environment, "both", "manage.py", "rotate_field_keys")
    assert again.returncode == 0, again.stderr
    assert "notify_notice.text_encrypted: 15 brought under the newest key" in again.stdout
    assert json.loads(run(environment, "new", driver, "look").stdout) == {"k2": 35}
    assert run(environment, "new", "manage.py", "rotate_field_keys", "--check").returncode == 0


def test_rotation_leaves_alone_what_was_written_meanwhile_and_what_it_can_not_read(eves, dev, settings, monkeypatch):
    other = set_own(dev, phone_number="+49 30 901821")
    put(PersonalDetails.objects.filter(pk=other.pk), phone_number_encrypted="plain")
    settings.FIELD_KEYS = {"k2": b"2" * 32, **settings.FIELD_KEYS}
    one = fieldkeys._one

    def meanwhile(row: Any, name: str, *args: Any, **more: Any) -> None:
        if name == "phone_number" and row.pk == eves.pk:
            set_own(eves.user, phone_number="+49 30 901829")
        one(row, name, *args, **more)

    monkeypatch.setattr(fieldkeys, "_one", meanwhile)
    err = StringIO()
    with pytest.raises(SystemExit):
        call_command("rotate_field_keys", stdout=StringIO(), stderr=err)
    assert str(other.uid) in err.getvalue()
    eves.refresh_from_db()
    assert (eves.phone_number, eves.ssn) == ("+4930901829", "65070803F018")
    assert eves.ssn_encrypted.startswith("v1.k2.")
    assert PersonalDetails.objects.get(pk=other.pk).phone_number_encrypted == "plain"
    told = AuditEntry.objects.filter(event="field-keys:rotated").latest("id")
    assert told.details["rows"] == 1


# --- one's own ----------------------------------------------------------------------------------------------------


def test_one_sets_them_by_the_api_and_sees_the_last_four(eve, client_for, collected):
    client = client_for(eve, step_up=True)
    answer = patch(client, phone_number=PHONE, ssn=SSN)
    assert (answer.status_code, answer.json()["phone_number"], answer.json()["ssn"]) == (200, "••••1844", "••••F018")
    assert "901844" not in client.get("/api/v1/me").content.decode()
    details = details_of(eve)
    assert details is not None
    assert (details.phone_number, details.ssn) == ("+4930901844", "65070803F018")
    entry = AuditEntry.objects.filter(resource_type="personal.personaldetails").latest("id")
    assert "v1." not in str(entry.changes)
    assert patch(client, phone_number="").json()["phone_number"] is None
    assert patch(client).json()["ssn"] == "••••F018"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"phone_number": "12"}, 400),
        ({"phone_number": "+49 30 901844" * 9}, 400),
        ({"phone_number": 4930901844}, 400),
        ({"phone_number": "a\u0000b"}, 400),
        ({"ssn": "12345"}, 400),
        ({"ssn": "x" * 41}, 400),
        ({"ssn": "١٢٣٤٥٦"}, 400),
        ({"ssn": "<b>123456"}, 400),
        ({"ssn": None}, 400),
        ({"uid": "x"}, 400),
        ([], 400),
    ],
)
def test_what_is_none_is_refused_by_name(eve, client_for, collected, given, status):
    client = client_for(eve, step_up=True)
    answer = client.patch("/api/v1/me", json.dumps(given), content_type="application/json")
    assert answer.status_code == status
    assert details_of(eve) is None
    assert patch(client, phone_number=PHONE).status_code == 200


def test_it_takes_a_fresh_second_factor(eve, client_for):
    assert patch(client_for(eve), phone_number=PHONE).status_code == 403
    assert client_for(eve).get("/my-security/details")["Location"].startswith("/step-up")
    assert details_of(eve) is None


def test_my_security_keeps_what_is_left_empty_and_erases_on_request(eve, client_for, collected):
    client = client_for(eve, step_up=True)
    client.post("/my-security/details", {"name": "Eve", "phone_number": PHONE, "ssn": SSN})
    assert "••••1844" in client.get("/my-security").content.decode()
    page = client.get("/my-security/details").content.decode()
    assert "901844" not in page
    assert client.post("/my-security/details", {"name": "Eve", "phone_number": "nonsense"}).status_code == 400
    client.post("/my-security/details", {"name": "Eve", "phone_number": ""})
    client.post("/my-security/details", {"erase": "ssn"})
    details = details_of(eve)
    assert details is not None
    assert (details.value("phone_number"), details.value("ssn")) == ("+4930901844", "")


# --- the national ID number ---------------------------------------------------------------------------------------


def test_it_is_off_until_an_officer_turns_it_on_and_off_erases(olga, eve, client_for):
    client = client_for(eve, step_up=True)
    assert patch(client, ssn=SSN).status_code == 409
    assert "National ID" not in client.get("/my-security/details").content.decode()
    officer, add = client_for(olga, step_up=True), reverse("admin:personal_collection_add")
    assert officer.post(add, {"name": "ssn", "enabled": "on", "reason": ""}).status_code == 200  # asks for the reason
    assert officer.post(add, {"name": "ssn", "enabled": "on", "reason": "Payroll law"}).status_code == 302
    assert patch(client, ssn=SSN).json()["ssn"] == "••••F018"
    change = reverse("admin:personal_collection_change", args=[Collection.objects.get().pk])
    officer.post(change, {"name": "ssn", "reason": "No longer needed"})
    assert client.get("/api/v1/me").json()["ssn"] is None
    assert PersonalDetails.objects.get().ssn_encrypted == ""
    changes = AuditEntry.objects.filter(event="personal:collection_changed").order_by("id")
    assert [(entry.details["enabled"], entry.details["erased"]) for entry in changes] == [(True, 0), (False, 1)]


def test_who_holds_no_permission_turns_nothing_on(adam, dev, client_for):
    for person in (adam, dev):
        answer = client_for(person, step_up=True).post(
            reverse("admin:personal_collection_add"), {"name": "ssn", "enabled": "on", "reason": "curious"}
        )
        assert answer.status_code in (302, 403)
    assert not Collection.objects.exists()


# --- revealing ----------------------------------------------------------------------------------------------------


def test_an_officer_reveals_one_with_a_reason_and_it_is_recorded(olga, eves, client_for):
    client = client_for(olga, step_up=True)
    answer = reveal(client, eves, field="ssn")
    assert (answer.status_code, answer.json()["value"]) == (200, "65070803F018")
    assert answer["Cache-Control"] == "no-store"
    entry = AuditEntry.objects.get(event="personal:revealed")
    assert (entry.actor_id, entry.resource_id) == (olga.pk, str(eves.user.uid))
    assert (entry.details["field"], "work" in entry.details["reason"]) == ("ssn", True)
    assert "65070803F018" not in str(entry.details)
    listed = client.get("/api/v1/personal-details").json()["results"]
    assert [(row["phone_number"], row["ssn"]) for row in listed] == [("••••1844", "••••F018")]


@pytest.mark.parametrize(
    ("data", "status"),
    [({"field": "email"}, 400), ({"reason": ""}, 400), ({"reason": "short"}, 400), ({"reason": "x" * 301}, 400)],
)
def test_without_a_reason_or_a_field_there_is_nothing(olga, eves, client_for, data, status):
    assert reveal(client_for(olga, step_up=True), eves, **data).status_code == status
    assert not AuditEntry.objects.filter(event="personal:revealed").exists()


def test_neither_without_step_up_nor_without_the_permission(olga, adam, eve, eves, client_for):
    assert reveal(client_for(olga), eves).status_code == 403
    assert reveal(client_for(adam, step_up=True), eves).status_code == 403
    assert reveal(client_for(eve, step_up=True), eves).status_code in (403, 404)
    assert client_for(eve).get("/api/v1/personal-details").status_code == 403
    assert not AuditEntry.objects.filter(event="personal:revealed").exists()


def test_ones_own_are_shown_in_full_when_asked_for_and_that_is_recorded(eve, eves, client_for):
    client = client_for(eve, step_up=True)
    answer = client.post("/my-security/details", {"show": "yes"})
    page = answer.content.decode()
    assert "+4930901844" in page
    assert "65070803F018" in page
    assert "no-store" in answer["Cache-Control"]
    entries = AuditEntry.objects.filter(event="personal:revealed", actor=eve)
    assert sorted(entry.details["field"] for entry in entries) == ["phone_number", "ssn"]
    assert "901844" not in client.get("/my-security/details").content.decode()
    assert client_for(eve).post("/my-security/details", {"show": "yes"})["Location"].startswith("/step-up")
    assert entries.count() == 2


def page_of(details: PersonalDetails) -> str:
    return reverse("reveal-personal", args=[details.uid])


WHY = {"field": "ssn", "reason": "Payroll asks for it."}


def test_an_officer_gets_from_the_account_in_the_admin_to_one_number(olga, eves, client_for):
    client = client_for(olga, step_up=True)
    account = client.get(reverse("admin:accounts_user_change", args=[eves.user.pk])).content.decode()
    assert "••••1844" in account
    assert "901844" not in account
    assert f'href="{page_of(eves)}?field=ssn"' in account
    asks = client.get(page_of(eves) + "?field=ssn").content.decode()
    assert '<option value="ssn" selected>National ID number, ••••F018</option>' in asks
    assert "65070803F018" not in asks
    answer = client.post(page_of(eves), WHY)
    assert answer.status_code == 200
    assert "65070803F018" in answer.content.decode()
    assert "901844" not in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    entry = AuditEntry.objects.get(event="personal:revealed")
    assert (entry.actor_id, entry.resource_id, entry.details["field"]) == (olga.pk, str(eves.user.uid), "ssn")
    assert entry.details["reason"] == WHY["reason"]


@pytest.mark.parametrize("wrong", [{"reason": "short"}, {"reason": "x" * 301}, {"field": "email"}, {"more": "x"}])
def test_the_page_asks_for_a_field_and_a_reason(olga, eves, client_for, wrong):
    answer = client_for(olga, step_up=True).post(page_of(eves), WHY | wrong)
    assert answer.status_code == 400
    assert "65070803F018" not in answer.content.decode()
    assert not AuditEntry.objects.filter(event="personal:revealed").exists()


def test_the_page_is_neither_for_others_nor_without_a_fresh_factor(olga, adam, eve, eves, client_for):
    assert client_for(olga).post(page_of(eves), WHY)["Location"].startswith("/step-up")
    for person, status in ((adam, 403), (eve, 403)):
        assert client_for(person, step_up=True).post(page_of(eves), WHY).status_code == status
    assert not AuditEntry.objects.filter(event="personal:revealed").exists()
    unknown = reverse("reveal-personal", args=[eve.uid])
    assert client_for(olga, step_up=True).get(unknown).status_code == 404


def test_who_may_read_and_not_reveal_sees_the_last_four_and_no_link(adam, eves, client_for):
    reader = save_role(
        Role(key="reader", name="Reader"),
        permissions={"personal-details:read", "users:read", "admin:enter"},
        parents=[],
    )
    assign_role(adam, reader.key, reason="x")
    account = (
        client_for(adam, step_up=True).get(reverse("admin:accounts_user_change", args=[eves.user.pk])).content.decode()
    )
    assert "••••1844" in account
    assert page_of(eves) not in account


def test_what_can_not_be_read_or_is_not_kept_says_so(olga, eves, client_for):
    client = client_for(olga, step_up=True)
    put(PersonalDetails.objects.all(), ssn_encrypted="v1.k1.AAAA", phone_number_encrypted="")
    answer = client.post(page_of(eves), WHY)
    assert answer.status_code == 400
    assert "can&#x27;t be read any more" in answer.content.decode()
    put(PersonalDetails.objects.all(), ssn_encrypted="")
    assert "Nothing is kept" in client.get(page_of(eves)).content.decode()
    assert client.post(page_of(eves), WHY).status_code == 400


# --- the name -----------------------------------------------------------------------------------------------------


def test_one_changes_ones_own_name_on_the_page_and_by_the_api(eve, client_for):
    client = client_for(eve, step_up=True)
    assert client.post("/my-security/details", {"name": " Eve  Ångström-Ölund "}).status_code == 302
    assert "Eve Ångström-Ölund" in client.get("/my-security").content.decode()
    assert patch(client, name="Eve O.").json()["name"] == "Eve O."
    entries = AuditEntry.objects.filter(
        resource_type="accounts.user", action=AuditEntry.Action.UPDATE, actor=eve
    ).order_by("id")
    assert [entry.resource_id for entry in entries] == [str(eve.uid)] * 2
    assert "Ångström" in str(entries[0].person)
    assert details_of(eve) is None
    assert client.get("/my-security").status_code == 200  # it ends no session


@pytest.mark.parametrize("name", ["", "   ", "olga@example.org", "x" * 121, "a\u202eb", "a\u0000b"])
def test_what_is_no_name_is_refused(eve, client_for, name):
    client = client_for(eve, step_up=True)
    assert client.post("/my-security/details", {"name": name}).status_code == 400
    answer = patch(client, name=name, phone_number=PHONE)
    assert answer.status_code == 400
    assert "name" in answer.json()["errors"]
    eve.refresh_from_db()
    assert (eve.name, details_of(eve)) == ("Eve", None)


def test_the_name_takes_a_fresh_second_factor_too(eve, client_for):
    assert patch(client_for(eve), name="Olga").status_code == 403
    assert client_for(eve).post("/my-security/details", {"name": "Olga"})["Location"].startswith("/step-up")
    eve.refresh_from_db()
    assert eve.name == "Eve"


def test_the_admin_shows_the_last_four(olga, eves, client_for):
    client = client_for(olga, step_up=True)
    page = client.get(reverse("admin:personal_personaldetails_change", args=[eves.pk])).content.decode()
    assert "••••1844" in page
    assert "901844" not in page


def test_what_is_not_kept_is_404(olga, client_for):
    details = set_own(make_person("Fay"), phone_number="")
    assert reveal(client_for(olga, step_up=True), details).status_code == 404
