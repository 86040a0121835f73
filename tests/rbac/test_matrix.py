"""Every address and API action, for every built-in role, on three kinds of object, generated from the address map.

The person holds the role at the unit `own` and may only read at the unit `seen`; of the unit `hidden` nothing may reach
them. What a role gives is read from its own table of effects, not from the code that decides.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from accounts.models import User
from accounts.tokens.services import issue_token
from audit.sealing.models import Checkpoint
from audit.sealing.sealer import seal
from opssight.kernel.access import resources
from rbac import role_book, services
from rbac.models import Role, RoleAssignment, RoleEffect, Unit
from tests.architecture.test_admin_leaks import MAKE
from tests.architecture.test_url_map import ADDRESSES, PUBLIC, stated
from tests.conftest import make_person

ROLES = ["employee", "developer", "analyst", "auditor", "officer", "administrator"]
NOWHERE = "01a20bd9-1d59-7949-b8ec-209801f0f979"
READS = {"assets:read", "scans:read", "findings:read", "imports:read", "assignments:read", "denies:read", "grants:read"}
WRITING = {  # console pages by POST
    "compliance/evaluate",
    "compliance/<str:key>/evaluate",
    "assets/<uuid:uid>/scan",
    "decisions/<uuid:uid>/answer",
    "imports/<uuid:uid>/undo",
    "assets/<uuid:uid>/return-tool",
    "schedules/<uuid:uid>/active",
    "schedules/<uuid:uid>/delete",
    "scanners/<str:name>/install",
    "findings/<uuid:uid>/owner",
    "findings/<uuid:uid>/tags",
    "findings/<uuid:uid>/comments",
    "bulk-actions/<uuid:uid>/undo",
    "saved-views",
    "saved-views/<uuid:uid>/remove",
    "my-security/sessions/others/end",
}
# One's own whatever the role; tested where it lives.
OWN = {"me", "devices", "tokens", "sessions", "mfa", "my-security", "step-up", "bulk-actions", "saved-views"}
NAMED_BY = {"checkpoints": "size", "controls": "key", "groups": "name", "scanners": "tool"}  # others by their uid
BY_LABEL = {"mfa": "mfa.totpdevice", "trail": "audit.auditentry", "grants": "scanning.assetusergrant"}


class Question(NamedTuple):
    """One method of one address: the permission it states, and the resource of the object in it, "" for none."""

    address: str
    method: str
    permission: str
    about: str

    def ask(self, client: Client, name: str = NOWHERE) -> HttpResponse:
        path = self.address.replace("<uuid:token>", NOWHERE)
        path = "/" + re.sub("<int:\\w+>", "0" if name == NOWHERE else name, re.sub("<(?:uuid|str):\\w+>", name, path))
        answer = client.generic(self.method, path, "{}", content_type="application/json", headers={"if-match": "*"})
        if answer.streaming:
            list(answer.streaming_content)  # a file is closed at its end
        return answer


def questions() -> list[Question]:
    found = []
    for address, pattern in ADDRESSES.items():
        if address in PUBLIC or address.startswith("admin/"):
            continue
        view: Any = pattern.callback
        first = address.removeprefix("api/v1/").partition("/")[0]
        about = {"compliance": "controls"}.get(first, first) if "<" in address else ""
        if hasattr(view, "actions"):
            asked = [
                (method.upper(), view.cls.permission_for(action))
                for method, action in view.actions.items()
                if method in ("get", "post", "patch", "delete")
            ]
        else:
            asked = [("POST" if address in WRITING else "GET", permission) for permission in stated(pattern) or []]
        found += [Question(address, method, permission, about) for method, permission in asked]
    return found


QUESTIONS = questions()
IN_UNITS = {"grants", *(resource.name for resource in resources.values() if resource.unit)}
ABOUT_UNITS = [q for q in QUESTIONS if q.about in IN_UNITS]
ABOUT_ALL = [q for q in QUESTIONS if q.about and q.about not in IN_UNITS | OWN]
WITHOUT_OBJECT = [q for q in QUESTIONS if not q.about]


def test_the_map_was_read():
    """Each address lands in one of the lists, and every kind of object that sits in a unit is among them."""
    assert {q.about for q in ABOUT_UNITS} == {
        "assets",
        "assignments",
        "comments",
        "decisions",
        "denies",
        "findings",
        "grants",
        "imports",
        "scans",
        "schedules",
        "sla-policies",
    }
    assert {q.about for q in QUESTIONS if q.about} <= {*OWN, *resources}
    assert len(QUESTIONS) > 60
    assert {"findings", "scans/<uuid:uid>/progress", "trail", "access"} <= {q.address for q in QUESTIONS}


def gives(*roles: str) -> set[str]:
    return set(RoleEffect.objects.filter(role__key__in=roles).values_list("permission", flat=True))


def with_objects(asked: list[Question], unit: Unit) -> Iterator[tuple[Question, str]]:
    """Each question with the name of a fresh object, in a unit of its own below `unit`."""
    for number, q in enumerate(asked):
        obj = made(q.about, services.create_unit(f"{unit.name}-{number}", parent=unit))
        yield q, str(getattr(obj, NAMED_BY.get(q.about, "uid")))


def made(about: str, unit: Unit) -> Any:
    """An object of a resource in a unit, or of the organisation; made as for the admin's leak tests."""
    if about == "groups":
        return Group.objects.create(name=unit.name)
    if about == "checkpoints":
        seal()
        return Checkpoint.objects.latest("id")
    model = resources[about].model
    obj = MAKE[BY_LABEL.get(about) or model._meta.label_lower](unit)
    if about == "lockouts":
        AccessAttempt.objects.create(username=obj.email, ip_address="203.0.113.9", failures_since_start=9)
    return obj


def mat() -> User:
    return User.objects.get(email="mat@example.org")


def body(answer: HttpResponse) -> object:
    if "json" not in answer["Content-Type"]:
        return answer.status_code
    return {name: value for name, value in answer.json().items() if name not in ("request_id", "instance")}


def missing(answer: HttpResponse) -> str:
    return answer.json().get("missing_permission", "") if "json" in answer["Content-Type"] else ""


def refused(answer: HttpResponse, q: Question) -> None:
    assert answer.status_code == 403, (q, answer.status_code)
    if q.address.startswith("api/"):
        assert answer.json()["missing_permission"] == q.permission, (q, answer.content)
        assert "granted_by" in answer.json()
    else:
        assert q.permission in answer.content.decode(), q


def let_through(answer: HttpResponse, q: Question) -> None:
    """Whatever the answer to the empty body is: not that it is forbidden, nor that there is nothing."""
    assert answer.status_code < 500, (q, answer.status_code)
    assert answer.status_code not in (401, 405), (q, answer.status_code)
    if "<uuid:token>" not in q.address:  # which is of an object below the one that was made
        assert answer.status_code != 404, q
    if answer.status_code == 403:  # not the door: giving on what one lacks is refused behind it
        assert (missing(answer), q.about) == ("", "assignments"), (q, answer.content)


@pytest.fixture
def units(db: None) -> dict[str, Unit]:
    return {name: services.create_unit(name, parent=services.root_unit()) for name in ("own", "seen", "hidden")}


@pytest.fixture
def person_with(units: dict[str, Unit], client_for) -> Callable[..., Client]:
    def make(role: str, unit: Unit) -> Client:
        person = make_person("Mat")
        if role != "employee" or unit != services.root_unit():
            services.assign_role(person, role, reason="matrix", unit=unit)
        return client_for(person, step_up=True)

    return make


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("at", ["a unit", "the organisation"])
def test_addresses_without_an_object(person_with, units, role, at):
    """A role at a unit opens what is about units, one at the organisation everything that it gives."""
    everywhere = at != "a unit"
    client = person_with(role, services.root_unit() if everywhere else units["own"])
    for q in WITHOUT_OBJECT:
        resource = resources[q.permission.partition(":")[0]]
        reaches = everywhere or resource.model is None or resource.unit
        held = q.permission in (gives("employee", role) if reaches else gives("employee"))
        let_through(q.ask(client), q) if held else refused(q.ask(client), q)


@pytest.mark.parametrize("where", ["own", "seen", "hidden"])
@pytest.mark.parametrize("role", ROLES)
def test_objects_of_units(person_with, client_for, units, role, where):
    person_with(role, units["own"])
    reader = role_book.save_role(Role(key="reader", name="Reader"), permissions=READS, parents=[])
    services.save_assignment(RoleAssignment(user=mat(), role=reader, unit=units["seen"], reason="matrix"))
    client = client_for(mat(), step_up=True)
    here = {"own": gives("employee", role), "seen": READS, "hidden": set()}[where]
    anywhere = gives("employee", role) | READS
    for q, name in with_objects(ABOUT_UNITS, units[where]):
        answer, reads = q.ask(client, name), f"{q.about}:read" in here
        if q.permission not in anywhere or (reads and q.permission not in here):
            refused(answer, q)
        elif reads:
            let_through(answer, q)
        else:
            assert answer.status_code == 404, (q, answer.status_code)
            assert body(answer) == body(q.ask(client)), q  # nothing tells it from one that does not exist


@pytest.mark.parametrize("at", ["a unit", "the organisation"])
@pytest.mark.parametrize("role", ROLES)
def test_objects_of_the_organisation(person_with, units, role, at):
    """Reached from the organisation only: a role at a unit gives nothing on them."""
    client = person_with(role, units["own"] if at == "a unit" else services.root_unit())
    held = gives("employee") if at == "a unit" else gives("employee", role)
    for q, name in with_objects(ABOUT_ALL, units["own"]):
        let_through(q.ask(client, name), q) if q.permission in held else refused(q.ask(client, name), q)


@pytest.mark.parametrize("role", ROLES)
def test_tokens_are_ones_own_whatever_the_role(person_with, role, dev):
    client = person_with(role, services.root_unit())
    mine, _ = issue_token(mat(), name="mine", scopes=["me:read"])
    others, _ = issue_token(dev, name="his", scopes=["me:read"])
    for token, status in ((mine, 200), (others, 404)):
        assert client.get(f"/api/v1/tokens/{token.uid}").status_code == status
    assert client.delete(f"/api/v1/tokens/{others.uid}").status_code == 404
    assert client.delete(f"/api/v1/tokens/{mine.uid}").status_code == 204


@pytest.mark.parametrize("role", ROLES)
def test_admin_pages_open_for_those_who_may_read_them(person_with, units, role):
    client, held = person_with(role, services.root_unit()), gives("employee", role)
    for page in admin.site._registry.values():
        label = page.model._meta.label_lower
        obj = MAKE[label](services.create_unit(f"own-{label}", parent=units["own"]))
        prefix = f"admin:{label.replace('.', '_')}"
        may = {"admin:enter", f"{page.resource}:read"} <= held
        for address in (reverse(f"{prefix}_changelist"), reverse(f"{prefix}_change", args=[obj.pk])):
            assert client.get(address).status_code == (200 if may else 403), address
        may_add = may and f"{page.resource}:{page.verbs.get('add')}" in held
        assert client.get(reverse(f"{prefix}_add")).status_code == (200 if may_add else 403), label


def test_visible_but_forbidden_is_403_with_the_name_of_what_is_missing(units, client_for, olga):
    """Reads everywhere, scans in one unit."""
    person = make_person("Vera", "auditor")
    services.assign_role(person, "developer", reason="x", unit=units["own"])
    client, foreign = client_for(person), made("assets", units["seen"])
    assert client.get(f"/api/v1/assets/{foreign.uid}").status_code == 200
    answer = client.post("/api/v1/scans", {"asset": str(foreign.uid)}, content_type="application/json")
    assert (answer.status_code, answer.json()["missing_permission"]) == (403, "scans:create")
    assert answer.json()["granted_by"] == ["Olga"]
