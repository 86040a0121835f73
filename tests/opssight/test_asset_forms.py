"""The forms of an asset's page: each kind with its refusals at their fields, a file uploaded, scans scheduled."""

import io
import zipfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from accounts.logins.services import LOGIN
from accounts.models import User
from opssight.settings import env
from rbac.services import assign_role, create_unit, root_unit
from scanning.models import Asset, Scan
from scanning.schedules.models import Schedule
from scanning.schedules.services import run_due
from tests.conftest import enrolled, make_person, opened, put
from tests.opssight.test_console import make_asset, text

pytestmark = pytest.mark.django_db


@pytest.fixture
def officer(olga, client_for):
    return client_for(olga, step_up=True)


def given(**values) -> dict[str, str]:
    return {"name": "shop", "unit": str(root_unit().uid), **values}


def at_field(answer, field: str) -> str:
    """What the page says of a field; "" where it says nothing."""
    found = answer.content.decode().partition(f'id="id_{field}-help"')[2].partition("</div>")[0]
    return found if "close" in found or "<svg" in found else ""


# --- kinds ----------------------------------------------------------------------------------------------------------

GIT = {"location": "https://git.example/shop.git", "branch": "", "username": "", "secret": ""}


@pytest.mark.parametrize(
    ("kind", "values", "field", "told"),
    [
        ("git", GIT | {"location": "git@host:shop"}, "location", "must begin with https"),
        ("git", GIT | {"location": "https://ci:hunter2@git.example/shop"}, "location", "own fields"),
        ("git", GIT | {"location": "file:///etc"}, "location", "OPSSIGHT_GIT_FOLDERS"),
        ("git", GIT | {"location": ""}, "location", "required"),
        ("git", GIT | {"branch": "--upload-pack=x"}, "branch", "no name of a branch"),
        ("git", GIT | {"username": "a\nb"}, "username", "not allowed here"),
        ("git", GIT | {"secret": "one\ntwo"}, "secret", "is one line"),
        ("git", GIT | {"secret": "\u202eone"}, "secret", "not allowed here"),
        ("archive", {"location": "shop.zip"}, "location", "absolute path"),
        ("image", {"location": "../x"}, "location", "absolute path"),
        ("folder", {"location": ""}, "location", "required"),
        ("folder", {"location": "/srv/shop", "name": "taken"}, "name", "already"),
    ],
)
def test_a_refusal_stands_at_its_field(officer, kind, values, field, told):
    make_asset("taken")
    answer = officer.post(f"/assets/new?kind={kind}", given(**values))
    assert answer.status_code == 400
    assert told in at_field(answer, field), text(answer)
    assert "hunter2" not in text(answer) or field == "location"
    assert Asset.objects.count() == 1


def test_a_repository_is_made_and_its_secret_is_written_and_never_shown(officer):
    made = officer.post("/assets/new?kind=git", given(**GIT | {"username": "ci", "secret": "hunter2\r\n"}))
    asset = Asset.objects.get()
    assert (made.status_code, asset.kind, asset.secret) == (302, "git", "hunter2")
    form = officer.get(f"/assets/{asset.uid}/change")
    assert "hunter2" not in form.content.decode() + officer.get(f"/assets/{asset.uid}").content.decode()
    assert "One is kept" in text(form)
    change, same = f"/assets/{asset.uid}/change", given(**GIT | {"username": "ci", "is_active": "on"})
    assert officer.post(change, same | {"branch": "main"}).status_code == 302
    asset.refresh_from_db()
    assert (asset.branch, asset.secret) == ("main", "hunter2")
    refused = officer.post(change, same | {"location": "http://git.example/x", "secret": "swordfish"})
    assert (refused.status_code, "swordfish" in text(refused)) == (400, False)
    asset.refresh_from_db()
    assert asset.secret == "hunter2"
    officer.post(change, same | {"forget_secret": "on"})
    asset.refresh_from_db()
    assert not asset.has_secret


def test_another_address_takes_the_secret_away(officer):
    officer.post("/assets/new?kind=git", given(**GIT | {"secret": "hunter2"}))
    asset = Asset.objects.get()
    elsewhere = given(**GIT | {"location": "https://evil.example/x", "is_active": "on"})
    officer.post(f"/assets/{asset.uid}/change", elsewhere)
    asset.refresh_from_db()
    assert (asset.location, asset.has_secret) == ("https://evil.example/x", False)


def test_kinds_have_their_own_fields_and_no_others(officer):
    for kind in ("planet", "installation", ""):
        assert officer.get(f"/assets/new?kind={kind}").status_code == 404
    for kind, theirs in [("folder", False), ("git", True), ("archive", False), ("image", False)]:
        page = officer.get(f"/assets/new?kind={kind}").content.decode()
        assert ('name="secret"' in page) == theirs
    assert "Unknown field" in text(officer.post("/assets/new?kind=folder", given(location="/x", secret="x")))
    assert not Asset.objects.exists()


def test_an_inactive_asset_is_offered_no_scan(officer):
    asset = make_asset("shop")
    address = f"/assets/{asset.uid}"
    assert "Scan with every tool" in text(officer.get(address))
    officer.post(f"{address}/change", given(location=asset.location))
    asset.refresh_from_db()
    assert not asset.is_active
    page = text(officer.get(address))
    assert "neither scanned nor counted" in page
    assert "Scan with every tool" not in page


# --- a file ---------------------------------------------------------------------------------------------------------


def zipped() -> SimpleUploadedFile:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.py", "x = 1\n")
    return SimpleUploadedFile("shop.zip", content.getvalue())


@pytest.fixture
def packed(db) -> Asset:
    return Asset.objects.create(name="packed", kind="archive", unit=root_unit())


def test_a_file_is_uploaded_on_the_page(officer, packed):
    assert f'action="/assets/{packed.uid}/upload"' in officer.get(f"/assets/{packed.uid}").content.decode()
    sent = officer.post(f"/assets/{packed.uid}/upload", {"file": zipped()})
    assert sent.status_code == 302
    packed.refresh_from_db()
    assert packed.upload_name == "shop.zip"
    assert "shop.zip" in text(officer.get(f"/assets/{packed.uid}"))


def test_what_can_not_be_scanned_is_refused_at_the_field(officer, packed):
    for file, told in [
        (SimpleUploadedFile("x.zip", b"nothing packed"), "no zip or tar"),
        (SimpleUploadedFile("x.zip", b""), "empty"),
        (None, "required"),
    ]:
        answer = officer.post(f"/assets/{packed.uid}/upload", {"file": file} if file else {})
        assert (answer.status_code, told in text(answer)) == (400, True), text(answer)
    folder = make_asset("folder")
    assert "from where it lies" in text(officer.post(f"/assets/{folder.uid}/upload", {"file": zipped()}))
    assert not list((env.HOME / "uploads").glob(f"{packed.uid.hex}-*"))


def test_too_large_a_file_is_refused_before_it_is_read(officer, packed, settings):
    settings.UPLOAD_MAX = 1
    big = SimpleUploadedFile("x.zip", b"PK\x03\x04" + b"x" * 1_200_000)
    answer = officer.post(f"/assets/{packed.uid}/upload", {"file": big})
    assert (answer.status_code, "more than 1 MB (OPSSIGHT_UPLOAD_MAX)" in text(answer)) == (413, True)
    assert answer.wsgi_request._read_started is False
    packed.refresh_from_db()
    assert not packed.upload


def test_nothing_is_uploaded_without_the_forms_own_token_or_the_permission(packed, dev, client_for):
    person, strict = make_person("Ana", "officer"), Client(enforce_csrf_checks=True)
    strict.force_login(person)
    session = strict.session
    session["otp_device_id"], session[LOGIN] = enrolled(person).persistent_id, str(opened(person).uid)
    session.save()
    assert strict.post(f"/assets/{packed.uid}/upload", {"file": zipped()}).status_code == 403
    assert client_for(dev).post(f"/assets/{packed.uid}/upload", {"file": zipped()}).status_code == 403
    assert "Upload" not in text(client_for(dev).get(f"/assets/{packed.uid}"))
    packed.refresh_from_db()
    assert not packed.upload


# --- schedules ------------------------------------------------------------------------------------------------------

DAILY = {"scanner": "", "every": "day", "hours": "24", "at": "03:30", "weekday": "0"}


def test_scans_are_scheduled_paused_and_not_any_more(officer, olga):
    asset = make_asset("shop")
    made = officer.post(f"/assets/{asset.uid}/schedules/new", DAILY)
    assert made.status_code == 302, text(made)
    row = Schedule.objects.get()
    assert (row.made_by, row.minute, row.scanner) == (olga, 210, "")
    assert "every tool daily, 03:30" in text(officer.get(f"/assets/{asset.uid}"))
    weekly = DAILY | {"scanner": "bandit", "every": "week", "weekday": "6"}
    officer.post(f"/assets/{asset.uid}/schedules/new", weekly)
    assert "bandit Sundays, 03:30" in text(officer.get(f"/assets/{asset.uid}"))
    officer.post(f"/schedules/{row.uid}/active", {"active": "no"})
    row.refresh_from_db()
    assert not row.is_active
    assert "paused" in text(officer.get(f"/assets/{asset.uid}"))
    put(Schedule.objects.all(), next_at=row.created_at)
    run_due()
    assert [run.scanner for run in Scan.objects.all()] == ["bandit"]
    officer.post(f"/schedules/{row.uid}/active", {"active": "yes"})
    row.refresh_from_db()
    assert row.is_active
    assert row.next_at > row.created_at
    officer.post(f"/schedules/{row.uid}/delete")
    assert [left.scanner for left in Schedule.objects.all()] == ["bandit"]


@pytest.mark.parametrize(
    ("wrong", "field", "told"),
    [
        ({"every": "hours", "hours": "0"}, "hours", "greater than or equal to 1"),
        ({"every": "hours", "hours": "169"}, "hours", "less than or equal to 168"),
        ({"every": "hours", "hours": ""}, "hours", "required"),
        ({"at": "25:00"}, "at", "valid time"),
        ({"at": ""}, "at", "required"),
        ({"every": "week", "weekday": "7"}, "weekday", "valid choice"),
        ({"every": "year"}, "every", "valid choice"),
        ({"scanner": "nonsense"}, "scanner", "valid choice"),
        ({"scanner": "bandit"}, "scanner", "has a schedule already"),
    ],
)
def test_what_is_wrong_with_a_schedule_is_told_at_its_field(officer, wrong, field, told):
    asset = make_asset("shop")
    officer.post(f"/assets/{asset.uid}/schedules/new", DAILY | {"scanner": "bandit"})
    answer = officer.post(f"/assets/{asset.uid}/schedules/new", DAILY | wrong)
    assert answer.status_code == 400
    assert told in at_field(answer, field), text(answer)
    assert Schedule.objects.count() == 1


def test_schedules_follow_the_rights_on_their_asset(officer, dev, client_for):
    team = create_unit("Team", parent=root_unit())
    hidden = make_asset("hidden")
    officer.post(f"/assets/{hidden.uid}/schedules/new", DAILY)
    row = Schedule.objects.get()
    person = User.objects.create(email="team@example.org")
    assign_role(person, "officer", unit=team, reason="test")
    theirs = client_for(person, step_up=True)
    assert theirs.post(f"/assets/{hidden.uid}/schedules/new", DAILY).status_code == 404
    for client, refused in ((theirs, 404), (client_for(dev), 403)):
        assert client.post(f"/schedules/{row.uid}/active", {"active": "no"}).status_code == refused
        assert client.post(f"/schedules/{row.uid}/delete").status_code == refused
    assert client_for(dev).get(f"/assets/{hidden.uid}/schedules/new").status_code == 403
    assert "New schedule" not in text(client_for(dev).get(f"/assets/{hidden.uid}"))
    assert Schedule.objects.get().is_active


def test_no_door_makes_or_moves_an_asset_where_one_may_not(client_for):
    """Officer of a team, who sees all of the organisation: forms, API and admin alike."""
    here, there = create_unit("Here", parent=root_unit()), create_unit("There", parent=root_unit())
    person = make_person("Tea", "auditor")
    for role in ("officer", "administrator"):
        assign_role(person, role, unit=here, reason="test")
    mine, client = Asset.objects.create(name="mine", location="/srv/mine", unit=here), client_for(person, step_up=True)
    api = f"/api/v1/assets/{mine.uid}"
    moved = {"unit": str(there.uid)}
    made = {"name": "new", "location": "/srv/new", **moved}
    assert client.post("/assets/new", made).status_code == 400
    assert (
        client.post(f"/assets/{mine.uid}/change", {"name": "mine", "location": "/srv/mine", **moved}).status_code == 400
    )
    assert client.post("/api/v1/assets", made, content_type="application/json").status_code == 400
    tag = client.get(api)["ETag"]
    answer = client.patch(api, moved, content_type="application/json", headers={"if-match": tag})
    assert answer.status_code == 400
    row = {"name": "x", "kind": "folder", "location": "/srv/x", "unit": there.pk, "is_active": "on"}
    for address in ("/admin/scanning/asset/add/", f"/admin/scanning/asset/{mine.pk}/change/"):
        assert client.post(address, row).status_code == 403
    assert list(Asset.objects.values_list("name", "unit")) == [("mine", here.pk)]
