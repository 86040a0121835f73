"""Sessions through their doors: begun at sign-in, listed, ended by hand, by time and by what changes an account."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.events import PASSWORD_CHANGED
from accounts.logins import services, tasks
from accounts.logins.models import Login
from accounts.mfa.models import TOTPDevice
from accounts.models import SetupLink, User
from accounts.notify.models import Notice
from accounts.services import change_password, set_active
from opssight.kernel.events import bulk_record, bulk_write
from rbac.models import DenyRule, Role, RoleAssignment
from rbac.services import assign_role, remove_deny, revoke_assignment, root_unit, save_assignment, save_deny
from tests.accounts.test_sign_in import code_for, entries, password_step
from tests.conftest import PASSWORD, enrolled, in_bulk, letters, make_person, put

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


def sign_in(user: User, client: Client | None = None, *, address: str = "192.0.2.7") -> Client:
    """A browser that has been through both steps of the pages."""
    client = client or Client(headers={"user-agent": FIREFOX}, REMOTE_ADDR=address)
    password_step(user, client)
    TOTPDevice.objects.filter(user=user).update(last_step=-1)
    assert client.post("/sign-in/second-step", {"code": code_for(enrolled(user))}).status_code == 302
    return client


def is_in(client: Client) -> bool:
    return bool(client.get("/my-security").status_code == 200)


@pytest.fixture
def eves(eve: User) -> Client:
    enrolled(eve)
    return sign_in(eve)


# --- the row ------------------------------------------------------------------------------------------------------


def test_a_sign_in_leaves_a_row(eves, eve):
    login = Login.objects.get()
    assert (login.user, login.device, login.address) == (eve, "Firefox 128, Linux", "192.0.2.7")
    assert (login.kind, login.factors, login.is_new_device) == ("console", ["pwd", "otp", "mfa"], False)
    now = timezone.now()
    assert timedelta(hours=11) < login.ends_at - now <= timedelta(hours=12)
    assert timedelta(minutes=59) < login.idle_ends_at - now <= timedelta(minutes=60)
    page = eves.get("/my-security").content.decode()
    assert "Firefox 128, Linux" in page
    assert "This one" in page


def test_the_password_alone_leaves_no_row(eve):
    enrolled(eve)
    password_step(eve)
    assert not Login.objects.exists()


def test_a_session_without_a_row_is_none(eves):
    Login.objects.all().delete()
    assert not is_in(eves)


@pytest.mark.parametrize("uid", ["", "x" * 4000, None, 7, "01a20bd9-1d59-7949-b8ec-209801f0f979"])
def test_a_session_that_names_another_row_is_none(eves, uid):
    session = eves.session
    session[services.LOGIN] = uid
    session.save()
    assert not is_in(eves)


def test_a_session_can_not_take_over_somebody_elses_row(eves, olga):
    enrolled(olga)
    sign_in(olga)
    session = eves.session
    session[services.LOGIN] = str(Login.objects.get(user=olga).uid)
    session.save()
    assert not is_in(eves)


# --- the cookie ---------------------------------------------------------------------------------------------------


def test_the_cookie_is_new_at_each_step_and_the_old_one_is_dead(eve):
    device, client = enrolled(eve), Client()
    client.get("/sign-in")
    planted = client.cookies["session"].value if "session" in client.cookies else None
    password_step(eve, client)
    between = client.cookies["session"].value
    client.post("/sign-in/second-step", {"code": code_for(device)})
    inside = client.cookies["session"].value
    TOTPDevice.objects.update(last_step=-1)
    assert client.post("/step-up", {"code": code_for(device)}).status_code == 302
    stepped_up = client.cookies["session"].value
    assert len({planted, between, inside, stepped_up}) == 4
    assert is_in(client)
    for old in (between, inside):
        thief = Client()
        thief.cookies["session"] = old
        assert not is_in(thief)


def test_a_planted_cookie_is_not_taken_over(eve):
    device, thief, victim = enrolled(eve), Client(), Client()
    password_step(make_person("Mallory"), thief)
    victim.cookies["session"] = thief.cookies["session"].value
    password_step(eve, victim)
    victim.post("/sign-in/second-step", {"code": code_for(device)})
    assert is_in(victim)
    assert not is_in(thief)


def test_cookies_under_https_are_bound_to_the_host(tmp_path):
    import os
    import subprocess
    import sys

    code = (
        "from django.conf import settings as s;"
        "print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.DEVICE_COOKIE_NAME, s.SESSION_COOKIE_SECURE,"
        " s.SESSION_COOKIE_HTTPONLY, s.SESSION_COOKIE_SAMESITE, s.SESSION_COOKIE_DOMAIN, s.SESSION_COOKIE_PATH)"
    )
    settings = {"DJANGO_SETTINGS_MODULE": "opssight.settings.prod", "OPSSIGHT_HOME": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**{k: v for k, v in os.environ.items() if not k.startswith("OPSSIGHT")}, **settings,
             "OPSSIGHT_URL": "https://ops.example"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.split() == [
        "__Host-session", "__Host-csrf", "__Host-device", "True", "True", "Lax", "None", "/"
    ]  # fmt: skip


def test_the_cookie_is_no_concern_of_scripts_and_stands_in_no_body(eves):
    cookie = eves.cookies["session"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    for path in ("/my-security", "/api/v1/sessions", "/api/v1/me"):
        assert cookie.value not in eves.get(path).content.decode()


# --- listing and ending -------------------------------------------------------------------------------------------


def test_one_session_is_ended_from_another(eves, eve):
    other = sign_in(eve, address="198.51.100.9")
    row = Login.objects.get(address="198.51.100.9")
    assert eves.post(f"/my-security/sessions/{row.uid}/end").status_code == 302
    assert not is_in(other)
    assert is_in(eves)
    assert [e.actor_label for e in entries("sessions:revoked")] == [eve.email]


def test_all_others_are_ended(eves, eve):
    others = [sign_in(eve) for _ in range(2)]
    answer = eves.post("/my-security/sessions/others/end", follow=True)
    assert "2 other sessions ended" in answer.content.decode()
    assert [is_in(client) for client in [*others, eves]] == [False, False, True]


def test_sessions_by_the_api(eves, eve):
    other = sign_in(eve)
    found = eves.get("/api/v1/sessions").json()["results"]
    assert [row["is_current"] for row in found] == [False, True]
    assert found[1]["device"] == "Firefox 128, Linux"
    assert eves.get(f"/api/v1/sessions/{found[0]['uid']}").json()["address"] == "192.0.2.7"
    assert eves.delete(f"/api/v1/sessions/{found[0]['uid']}").status_code == 204
    assert not is_in(other)
    assert eves.get(f"/api/v1/sessions/{found[0]['uid']}").status_code == 404
    again = sign_in(eve)
    assert eves.post("/api/v1/sessions/revoke-others").json() == {"ended": 1}
    assert not is_in(again)
    assert is_in(eves)


def test_sessions_of_others_are_out_of_sight(eves, olga, adam):
    enrolled(olga)
    olgas = sign_in(olga)
    row = Login.objects.get(user=olga)
    assert eves.get(f"/api/v1/sessions/{row.uid}").status_code == 404
    assert eves.delete(f"/api/v1/sessions/{row.uid}").status_code == 404
    assert eves.post(f"/my-security/sessions/{row.uid}/end").status_code == 404
    assert str(row.uid) not in eves.get("/api/v1/sessions").content.decode()
    assert is_in(olgas)


def test_an_officer_ends_sessions_in_the_admin(eves, eve, olga, client_for):
    officer, row = client_for(olga, step_up=True), Login.objects.get(user=eve)
    pages = reverse("admin:logins_login_changelist")
    assert "192.0.2.7" in officer.get(f"{pages}?q=eve@").content.decode()
    officer.post(pages, {"action": "end_sessions", "_selected_action": [row.pk], "index": "0"})
    assert not is_in(eves)
    everywhere = [sign_in(eve), sign_in(eve)]
    one = Login.objects.filter(user=eve).latest("id")
    officer.post(pages, {"action": "end_everything", "_selected_action": [one.pk], "index": "0"})
    assert [is_in(client) for client in everywhere] == [False, False]
    assert is_in(officer)
    assert len(entries("sessions:revoked")) == 2


def test_an_auditor_sees_sessions_and_ends_none(eves, eve, adam, client_for):
    assign_role(adam, "developer", reason="x")
    auditor, row = client_for(adam, step_up=True), Login.objects.get(user=eve)
    auditor.post(
        reverse("admin:logins_login_changelist"),
        {"action": "end_everything", "_selected_action": [row.pk], "index": "0"},
    )
    assert is_in(eves)


def test_sign_out_ends_the_row_and_the_stolen_cookie(eves):
    stolen = Client()
    stolen.cookies["session"] = eves.cookies["session"].value
    assert is_in(stolen)
    eves.post("/sign-out")
    assert not is_in(stolen)
    assert Login.objects.get().ended_at is not None


def test_a_revoked_session_is_dead_on_every_door(eves, eve):
    services.revoke(Login.objects.all())
    for path, status in (("/", 302), ("/admin/", 302), ("/api/v1/me", 401), ("/step-up", 302)):
        fresh = Client()
        fresh.cookies["session"] = eves.cookies["session"].value
        assert fresh.get(path).status_code == status, path


# --- the end by time ----------------------------------------------------------------------------------------------


def later(**columns: timedelta) -> None:
    """Time passes: the row's moments move into the past."""
    login = Login.objects.get()
    for name, by in columns.items():
        setattr(login, name, getattr(login, name) - by)
    login.save()


def test_an_unused_session_ends(eves):
    later(idle_ends_at=timedelta(minutes=61))
    assert not is_in(eves)


def test_use_keeps_a_session_and_is_written_once_a_minute(eves):
    later(last_seen_at=timedelta(minutes=30), idle_ends_at=timedelta(minutes=30))
    before = Login.objects.get()
    assert is_in(eves)
    after = Login.objects.get()
    assert after.idle_ends_at - before.idle_ends_at > timedelta(minutes=29)
    assert is_in(eves)
    assert Login.objects.get().last_seen_at == after.last_seen_at


def test_a_page_that_reads_itself_again_keeps_no_session(eves):
    later(last_seen_at=timedelta(minutes=30), idle_ends_at=timedelta(minutes=30))
    before = Login.objects.get()
    assert eves.get("/my-security", headers={"x-background": "1"}).status_code == 200
    assert Login.objects.get().idle_ends_at == before.idle_ends_at


def test_a_session_in_use_ends_all_the_same(eves):
    later(last_seen_at=timedelta(minutes=5), ends_at=timedelta(hours=11, minutes=50))
    assert is_in(eves)
    assert Login.objects.get().idle_ends_at == Login.objects.get().ends_at
    later(ends_at=timedelta(minutes=11))
    assert not is_in(eves)


def test_old_rows_and_run_out_cookies_are_swept(eves):
    later(ends_at=timedelta(days=89), idle_ends_at=timedelta(days=89))
    tasks.purge_sessions()
    assert Login.objects.exists()
    later(ends_at=timedelta(days=2), idle_ends_at=timedelta(days=2))
    tasks.purge_sessions()
    assert not Login.objects.exists()


# --- what ends everything -----------------------------------------------------------------------------------------


def out_and_in_again(user: User) -> None:
    in_bulk(User.objects.filter(pk=user.pk), is_active=False)
    in_bulk(User.objects.filter(pk=user.pk), is_active=True)


def by_hand(user: User) -> None:
    user.is_active = False
    user.save()
    user.is_active = True
    user.save(update_fields=["is_active"])


def by_an_older_copy(user: User) -> None:
    """Which still has the epoch from before, and writes every field."""
    old = User.objects.get(pk=user.pk)
    services.end_everything(user)
    old.name = "Eve again"
    old.save()


def by_bulk_update(user: User) -> None:
    user.password = "!"
    with bulk_write():
        User.objects.bulk_update([user], ["password"])
        bulk_record(PASSWORD_CHANGED, [(user, {"password": ["", "!"]})])


CHANGES = {
    "password": lambda user: change_password(user, "another long passphrase"),
    "password in bulk": by_bulk_update,
    "out and in again": lambda user: [set_active(user, False), set_active(user, True)],
    "out and in again, in bulk": out_and_in_again,
    "out and in again, by hand": by_hand,
    "ended, then saved from an older copy": by_an_older_copy,
    "a role given": lambda user: assign_role(user, "developer", reason="x"),
    "a role taken": lambda user: revoke_assignment(user.assignments.get()),
    "a permission denied": lambda user: deny(user),
    "a deny lifted": lambda user: remove_deny(deny(user)),
    "a role's dates changed": lambda user: shorten(user),
    "a role given to a group": lambda user: of_a_group(user),
    "into a group": lambda user: user.groups.add(Group.objects.create(name="team")),
    "into a group, from its end": lambda user: Group.objects.create(name="team").user_set.add(user),
    "out of all groups": lambda user: [user.groups.add(Group.objects.create(name="t")), user.groups.clear()],
}


def deny(user: User) -> DenyRule:
    return save_deny(DenyRule(user=user, permission="findings:read", unit=root_unit(), reason="x"))


def shorten(user: User) -> None:
    held = user.assignments.get()
    held.valid_until = timezone.now() + timedelta(days=1)
    save_assignment(held)


def of_a_group(user: User) -> None:
    group = Group.objects.create(name="team")
    user.groups.add(group)
    role = Role.objects.get(key="developer")
    save_assignment(RoleAssignment(group=group, role=role, unit=root_unit(), reason="x"))


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_an_account_ends_its_sessions(eves, eve, olga, client_for, change):
    officer = client_for(olga)
    CHANGES[change](eve)
    assert not is_in(eves)
    assert is_in(officer)


def test_whoever_gives_a_role_stays(eves, eve, olga, client_for):
    officer = client_for(olga, step_up=True)
    body = {"user": str(eve.uid), "role": "developer", "unit": str(root_unit().uid), "reason": "joins"}
    assert officer.post("/api/v1/assignments", body, content_type="application/json").status_code == 201
    assert is_in(officer)
    assert not is_in(eves)


def test_what_changes_nothing_of_this_ends_nothing(eves, eve):
    eve.name = "Eva"
    eve.save()
    put(User.objects.filter(pk=eve.pk), name="Eve")
    assert is_in(eves)
    assert User.objects.get(pk=eve.pk).auth_epoch == Login.objects.get().auth_epoch


# --- a new device -------------------------------------------------------------------------------------------------


@pytest.fixture
def notice(eves, eve) -> str:
    """The path in the mail about a sign-in elsewhere."""
    sign_in(eve, address="203.0.113.66")
    login = Login.objects.get(address="203.0.113.66")
    assert login.is_new_device
    (letter,) = letters()
    assert letter.to == [eve.email]
    assert "203.0.113.66" in letter.body
    link = re.search(r"http://localhost:8000(/not-me/[\w-]+)", letter.body)
    assert link is not None
    return link[1]


def test_a_device_that_was_seen_is_not_new(eves, eve):
    again = Client(headers={"user-agent": FIREFOX})
    again.cookies["device"] = eves.cookies["device"].value
    sign_in(eve, again)
    assert not Login.objects.filter(is_new_device=True).exists()
    assert not entries("sessions:new_device")


def test_anothers_device_is_new_all_the_same(eves, eve, olga):
    enrolled(olga)
    sign_in(olga)
    borrowed = Client()
    borrowed.cookies["device"] = eves.cookies["device"].value
    sign_in(olga, borrowed)
    assert Login.objects.filter(user=olga).latest("id").is_new_device


def test_the_mail_goes_out_once_and_its_token_is_kept_nowhere(notice):
    assert len(letters()) == 1
    token = notice.rpartition("/")[2]
    assert token not in str([*Login.objects.values(), *Notice.objects.values()])
    assert len(entries("sessions:new_device")) == 1


def test_this_was_not_me_by_mail(notice, eves, eve):
    stranger = Client()
    assert "This was not me" in stranger.get(notice).content.decode()
    assert is_in(eves)  # looking changes nothing
    answer = stranger.post(notice)
    assert answer["Location"].startswith("http://localhost:8000/set-up/")
    assert not is_in(eves)
    assert Client().post("/sign-in", {"username": eve.email, "password": PASSWORD}).status_code == 400
    assert [e.actor_label for e in entries("sessions:disowned")] == [eve.email]
    assert stranger.post(notice).status_code == 404  # it works once
    new = {"password": "a whole new passphrase", "again": "a whole new passphrase"}
    path = answer["Location"].removeprefix("http://localhost:8000")
    assert stranger.post(path, new)["Location"] == "/sign-in/enrol"
    assert stranger.get("/sign-in/enrol")["Location"] == "/sign-in/second-step"  # the second factor is still asked for
    assert not is_in(stranger)


@pytest.mark.parametrize("token", ["x", "x" * 3000, "%00", "..%2f", "🔑"])
def test_links_that_never_were(db, token):
    assert Client().get(f"/not-me/{token}").status_code == 404
    assert Client().post(f"/not-me/{token}").status_code == 404


def test_the_link_ends_after_a_week(notice):
    login = Login.objects.latest("id")
    login.started_at -= timedelta(days=8)
    login.save()
    assert Client().post(notice).status_code == 404
    assert not SetupLink.objects.exists()


def test_this_was_not_me_on_the_page_needs_a_fresh_second_factor(eves, eve, client_for):
    stale = client_for(eve)
    assert stale.post("/my-security/not-me")["Location"].startswith("/step-up")
    assert is_in(eves)
    answer = eves.post("/my-security/not-me")
    assert "/set-up/" in answer["Location"]
    assert not is_in(eves)
    assert not is_in(stale)


def test_what_others_tried_is_on_the_page(eves, eve):
    Client(REMOTE_ADDR="203.0.113.5").post("/sign-in", {"username": eve.email, "password": "wrong"})
    page = eves.get("/my-security").content.decode()
    assert "Wrong password" in page
    assert "203.0.113.5" in page
