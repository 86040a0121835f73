"""What claims give and take: groups, when a sign-in is done, and rehearsed before."""

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.logins.models import Login
from accounts.models import User
from accounts.sso import services
from accounts.sso.models import ClaimRule, Identity, Provider
from audit.models import AuditEntry
from rbac.access.factors import delete_rule
from rbac.models import RoleAssignment
from rbac.services import assign_role, root_unit
from tests.accounts.sso.broken import Broken
from tests.accounts.sso.conftest import SECRET, change, fresh_code, let_in, linked, make_provider
from tests.conftest import make_person, put
from tests.rbac.access.test_factors import rule as factor_rule


@pytest.fixture
def acme(db: None, broken: Broken) -> Provider:
    return make_provider(broken.issuer, domains=["example.org"])


def rule(acme: Provider, value: str, name: str, **more: Any) -> ClaimRule:
    group, _ = Group.objects.get_or_create(name=name)
    values = {"claim": "groups", "is_enabled": True, **more}
    return ClaimRule.objects.create(provider=acme, value=value, group=group, **values)


def names(user: User) -> list[str]:
    return sorted(user.groups.values_list("name", flat=True))


def test_claims_put_people_into_groups_and_take_them_out_again(acme, broken, eve):
    linked(eve, acme)
    rule(acme, "eng", "Engineers")
    rule(acme, "all", "Everybody")
    rule(acme, "boss", "Leads", claim="realm_access.roles")
    rule(acme, "eng", "Drafted", is_enabled=False)
    by_hand = Group.objects.create(name="By hand")
    eve.groups.add(by_hand)
    broken.about.update(groups=["eng", "all", 7], realm_access={"roles": "boss"})
    let_in(broken, eve)
    assert names(eve) == ["By hand", "Engineers", "Everybody", "Leads"]
    broken.about.update(groups="all", realm_access=[])
    let_in(broken, eve)
    assert names(eve) == ["By hand", "Everybody"]
    changes = AuditEntry.objects.filter(event="sso:groups_changed").order_by("id")
    assert changes.count() == 2


def test_a_place_given_by_hand_is_not_taken_by_a_rule(acme, broken, eve):
    linked(eve, acme)
    rule(acme, "eng", "Engineers")
    eve.groups.add(Group.objects.get())
    broken.about["groups"] = ["eng"]
    let_in(broken, eve)
    broken.about["groups"] = []
    let_in(broken, eve)
    assert names(eve) == ["Engineers"]


def test_a_sign_in_that_stops_half_way_changes_no_groups(acme, broken, dev):
    """Neither before the second step, nor where a factor is proved that is too weak."""
    linked(dev, acme)
    rule(acme, "eng", "Engineers")
    broken.about["groups"] = ["eng"]
    elsewhere = let_in(broken, dev)
    assert names(dev) == ["Engineers"]
    broken.about["groups"] = []
    halfway = Client()
    assert broken.walk(halfway)["Location"] == "/sign-in/second-step"
    assert halfway.post("/sign-in/second-step", {"code": "000000"}).status_code == 400
    strict = factor_rule(level="passkey")
    answer = halfway.post("/sign-in/second-step", {"code": fresh_code(dev)})
    assert answer["Location"] == "/sign-in/enrol"
    assert names(dev) == ["Engineers"]
    assert Identity.objects.get().last_used_at < timezone.now()
    assert AuditEntry.objects.filter(event="sso:groups_changed").count() == 1
    delete_rule(strict)
    assert elsewhere.get("/my-security").status_code == 200
    assert halfway.post("/sign-in/second-step", {"code": fresh_code(dev)})["Location"] == "/"
    assert names(dev) == []
    assert elsewhere.get("/my-security").status_code == 302
    assert halfway.get("/my-security").status_code == 200


def test_of_two_sign_ins_the_later_claims_count(acme, broken, eve):
    """Else whoever waited with the second step could bring back a group that was taken."""
    linked(eve, acme)
    rule(acme, "eng", "Engineers")
    broken.about["groups"] = ["eng"]
    early = Client()
    broken.walk(early)
    broken.about["groups"] = []
    let_in(broken, eve)
    assert early.post("/sign-in/second-step", {"code": fresh_code(eve)}).status_code == 302
    assert names(eve) == []


@pytest.mark.parametrize("how", ["unlinked", "switched off"])
def test_half_way_in_nobody_gets_on_by_a_link_that_is_gone(acme, broken, eve, how):
    identity = linked(eve, acme)
    halfway = Client()
    broken.walk(halfway)
    if how == "unlinked":
        services.unlink(identity)
    else:
        change(acme, is_enabled=False)
    assert halfway.post("/sign-in/second-step", {"code": fresh_code(eve)})["Location"] == "/sign-in"
    assert not Login.objects.exists()


def test_claims_that_no_key_reads_give_nothing_and_stop_nobody(acme, broken, eve):
    linked(eve, acme)
    rule(acme, "eng", "Engineers")
    broken.about["groups"] = ["eng"]
    let_in(broken, eve)
    halfway = Client()
    broken.walk(halfway)
    put(Identity.objects.all(), claims_encrypted="v1.gone.AAAA")
    call_command("rehearse_claims", "--provider", "acme", stdout=(out := StringIO()))
    assert "can't be read" in out.getvalue()
    assert halfway.post("/sign-in/second-step", {"code": fresh_code(eve)}).status_code == 302
    assert names(eve) == []


def test_leaving_a_group_ends_other_sessions_and_the_right_at_once(acme, broken, eve):
    linked(eve, acme)
    made = rule(acme, "eng", "Engineers")
    held = RoleAssignment(
        group=made.group, reason="x", unit=root_unit(), role=assign_role(eve, "developer", reason="x").role
    )
    RoleAssignment.objects.filter(user=eve, role=held.role).delete()
    held.save()
    broken.about["groups"] = ["eng"]
    first = let_in(broken, eve)
    assert first.get("/findings").status_code == 200
    broken.about["groups"] = []
    second = let_in(broken, eve)
    assert first.get("/findings").status_code == 302
    assert second.get("/findings").status_code == 403


def test_the_rehearsal_says_who_would_join_and_leave_and_changes_nothing(acme, broken, eve, tmp_path):
    linked(eve, acme)
    old = rule(acme, "eng", "Engineers")
    broken.about["groups"] = ["eng", "sec"]
    let_in(broken, eve)
    old.delete()
    rule(acme, "sec", "Security", is_enabled=False)

    def rehearse(*more: str) -> str:
        call_command("rehearse_claims", "--provider", "acme", *more, stdout=(out := StringIO()))
        return out.getvalue().strip()

    assert rehearse() == "eve@example.org joins Security leaves Engineers"
    assert names(eve) == ["Engineers"]
    file = tmp_path / "claims.json"
    file.write_text(json.dumps({"groups": "sec"}))
    assert rehearse("--claims", str(file)) == "in Security"
    file.write_text("[]")
    with pytest.raises(CommandError, match="no JSON object"):
        rehearse("--claims", str(file))
    with pytest.raises(CommandError, match="no provider"):
        call_command("rehearse_claims", "--provider", "nobody")


def test_nobody_lets_a_provider_give_what_they_could_not_give(acme, client_for):
    head = make_person("Head", "administrator")
    group = Group.objects.create(name="Officers")
    officer = assign_role(make_person("X"), "officer", reason="x").role
    RoleAssignment.objects.create(group=group, role=officer, unit=root_unit(), reason="x")
    plain = Group.objects.create(name="Plain")
    client = client_for(head, step_up=True)

    def add(group: Group) -> int:
        data = {"provider": acme.pk, "claim": "groups", "value": "v", "group": group.pk, "is_enabled": "on"}
        client.post("/admin/sso/claimrule/add/", data)
        return ClaimRule.objects.filter(group=group).count()

    assert add(group) == 0
    assert add(plain) == 1


def test_claims_are_kept_encrypted_and_the_secret_too(acme, broken, eve):
    linked(eve, acme)
    broken.about["groups"] = ["a-telling-group"]
    broken.walk()
    assert json.loads(Identity.objects.get().claims)["groups"] == ["a-telling-group"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT claims_encrypted FROM sso_identity")
        assert "telling" not in cursor.fetchone()[0]
        cursor.execute("SELECT client_secret_encrypted FROM sso_provider")
        assert SECRET not in cursor.fetchone()[0]
    assert not AuditEntry.objects.filter(changes__icontains=SECRET).exists()
