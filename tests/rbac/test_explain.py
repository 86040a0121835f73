"""Explain: the path to a yes, what came close to a yes, and what would change a no."""

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from opssight.kernel.access import decide
from rbac import grants, services
from rbac.explain import explain
from rbac.models import DenyRule, RoleAssignment, Unit
from scanning.models import Asset

NOW = timezone.now()


@pytest.fixture
def system(db) -> Unit:
    team = services.create_unit("Payments", parent=services.root_unit())
    return services.create_unit("Payments API", parent=team, kind=Unit.Kind.SYSTEM)


@pytest.fixture
def asset(system) -> Asset:
    return Asset.objects.create(name="pay", location="/pay", unit=system)


def test_a_yes_shows_its_path(eve, system, asset):
    until = NOW + timedelta(days=3)
    services.assign_role(eve, "analyst", reason="x", unit=system.parent, until=until)
    answer = explain(eve, "assets:read", asset)
    assert answer.allowed
    assert answer.reasons == [
        f"role Analyst (from role Developer) at Payments, until {until:%Y-%m-%d %H:%M} UTC; "
        "the object is in Organisation > Payments > Payments API"
    ]


def test_a_no_shows_what_came_close_and_what_to_do(eve, olga, system, asset):
    RoleAssignment.objects.create(
        user=eve, role=services.Role.objects.get(key="developer"), unit=system, reason="x",
        valid_from=NOW - timedelta(days=9), valid_until=NOW - timedelta(days=2),
    )  # fmt: skip
    services.assign_role(eve, "developer", reason="x", unit=services.create_unit("Shop", parent=services.root_unit()))
    answer = explain(eve, "assets:read", asset)
    assert not answer.allowed
    assert any("role Developer at Payments API ended" in line for line in answer.near_misses)
    assert "role Developer at Shop, but the object is in Payments API" in answer.near_misses
    assert (
        "a role that gives assets:read at Payments API or above: Administrator, Analyst, Auditor"
        in answer.would_change[0]
    )
    assert "a grant on this object alone" in answer.would_change
    assert answer.would_change[-1] == "ask Olga"


def test_a_deny_is_named_and_lifting_it_is_the_change(eve, system, asset):
    services.assign_role(eve, "developer", reason="x", unit=system)
    services.save_deny(DenyRule(user=eve, permission="assets:*", unit=services.root_unit(), reason="suspended"))
    answer = explain(eve, "assets:read", asset)
    assert answer.reasons[0].startswith("denied: assets:* at Organisation; the object is in Organisation > Payments")
    assert answer.would_change[0] == "lift the deny (assets:* at Organisation)"


def test_groups_grants_and_closed_accounts_are_told(eve, asset):
    from django.contrib.auth.models import Group

    grants.grant_on_object(eve, "assets:read", asset, reason="covers for Dev")
    assert explain(eve, "assets:read", asset).reasons == ["a grant on pay alone: covers for Dev"]
    group = Group.objects.create(name="Leads")
    eve.groups.add(group)
    role = services.Role.objects.get(key="auditor")
    services.save_assignment(RoleAssignment(group=group, role=role, unit=services.root_unit(), reason="x"))
    assert "through group Leads" in explain(eve, "trail:read").reasons[0]
    eve.is_active = False
    answer = explain(eve, "trail:read")
    assert (answer.allowed, answer.would_change) == (False, ["activate the account"])


@pytest.mark.parametrize("permission", ["assets:read", "trail:read", "assets:create", "me:read", "tokens:read"])
@pytest.mark.parametrize("person", ["olga", "adam", "dev", "eve"])
def test_the_answer_is_the_decision(request, asset, permission, person):
    user = request.getfixturevalue(person)
    for obj in [None, *([asset] if permission.startswith("assets") else [])]:
        assert explain(user, permission, obj).allowed is decide(user, permission, obj).allowed


def command(*args: str) -> tuple[int, dict]:
    out = io.StringIO()
    with pytest.raises(SystemExit) as end:
        call_command("explain_access", *args, "--json", stdout=out)
    return end.value.code, json.loads(out.getvalue())


def test_the_command_answers_by_exit_code_too(olga, eve, asset):
    code, answer = command("--user", "OLGA@example.org", "--action", "assets:read", "--object", str(asset.uid))
    assert (code, answer["allowed"], answer["object"]) == (0, True, "pay")
    code, answer = command("--user", "eve@example.org", "--action", "assets:read", "--object", f"assets/{asset.uid}")
    assert (code, answer["allowed"]) == (1, False)
    assert {"reasons", "near_misses", "would_change"} <= answer.keys()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["--user", "nobody@example.org", "--action", "assets:read"], 3),
        (["--user", "eve@example.org", "--action", "assets:destroy"], 2),
        (["--user", "eve@example.org", "--action", "assets:read", "--object", "nonsense"], 2),
        (
            [
                "--user",
                "eve@example.org",
                "--action",
                "admin:enter",
                "--object",
                "01a20bd9-1d59-7949-b8ec-209801f0f979",
            ],
            2,
        ),
    ],
)
def test_questions_that_are_none(eve, args, code):
    with pytest.raises(CommandError) as refusal:
        call_command("explain_access", *args)
    assert refusal.value.returncode == code


def test_anybody_asks_about_themselves_and_few_about_others(eve, olga, client_for, asset):
    mine = client_for(eve).get("/api/v1/explain?action=trail:read")
    assert (mine.status_code, mine.json()["allowed"]) == (200, False)
    other = client_for(eve).get(f"/api/v1/explain?action=trail:read&user={olga.email}")
    assert (other.status_code, other.json()["missing_permission"]) == (403, "access:explain")
    assert other.json()["granted_by"] == ["Olga"]
    asked = client_for(olga).get(f"/api/v1/explain?action=assets:read&user={eve.email}&object={asset.uid}")
    assert (asked.json()["account"], asked.json()["allowed"]) == (eve.email, False)
    hidden = client_for(eve).get(f"/api/v1/explain?action=assets:read&object={asset.uid}")
    assert hidden.status_code == 404  # an explanation does not tell that it exists
    for query in ("", "action=nonsense", "action=assets:read&object=x", f"action=assets:read&more={asset.uid}"):
        assert client_for(olga).get(f"/api/v1/explain?{query}").status_code == 400


def test_the_page_answers_and_lists_what_somebody_holds(eve, olga, adam, client_for, asset):
    page = client_for(olga).get(f"/access?user={eve.email}&action=assets:read&object={asset.uid}").content.decode()
    assert "No: Eve may not" in page
    assert "ask Olga" in page
    page = client_for(adam).get(f"/access?user={olga.email}&action=trail:read").content.decode()
    assert "Yes: Olga may" in page
    assert "from Auditor" in page
    assert client_for(eve).get("/access").status_code == 403
    for query in (
        "user=nobody@example.org",
        f"user={eve.email}&action=x",
        f"user={eve.email}&action=assets:read&object=x",
    ):
        answer = client_for(olga).get(f"/access?{query}")
        assert (answer.status_code, "No answer" in answer.content.decode()) == (200, True)


def test_rights_that_end_and_rights_that_nobody_uses(eve, olga, client_for):
    services.assign_role(eve, "auditor", reason="audit", until=NOW + timedelta(days=5))
    stale = services.assign_role(eve, "developer", reason="long ago")
    stale.valid_from = NOW - timedelta(days=200)
    stale.save()
    page = client_for(olga).get("/access")
    assert [row.role.key for row, _ in page.context["ending"]] == ["auditor"]
    assert [row.role.key for row in page.context["stale"]] == ["developer"]
