"""Making and changing policies and zones: by API, in the admin and on the server; what is refused, and who is told."""

import json
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEntry
from rbac.access import services
from rbac.access.models import AccessTrace, Policy, Zone
from rbac.access.tasks import purge_traces
from tests.api.test_habits import problem
from tests.conftest import make_person
from tests.opssight.test_console import text
from tests.rbac.access.conftest import ALWAYS, AWAY, IN_OFFICE, NEVER, OFFICE, UNKNOWN, make_policy

BODY = {
    "name": "Office only",
    "resource": "findings",
    "action": "read",
    "effect": "deny",
    "condition": {"not": IN_OFFICE},
    "reason": "Only from the office.",
}


# --- API ---


def test_the_life_of_a_policy(olga, token, office):
    machine = token(olga)
    made = machine("POST", "/policies", BODY)
    assert made.status_code == 201
    assert made.json().items() >= {**BODY, "enabled": True}.items()
    path = made["Location"].removeprefix("/api/v1")
    assert machine("GET", path)["ETag"] == made["ETag"]
    problem(machine("PATCH", path, {"enabled": False}), 428)
    problem(machine("PATCH", path, {"enabled": False}, if_match='"other"'), 412)
    changed = machine("PATCH", path, {"enabled": False}, if_match=made["ETag"])
    assert (changed.status_code, changed.json()["enabled"]) == (200, False)
    assert [row["name"] for row in machine("GET", "/policies?enabled=false&effect=deny").json()["results"]] == [
        "Office only"
    ]
    problem(machine("DELETE", path, if_match=made["ETag"]), 412)
    assert machine("DELETE", path, if_match=changed["ETag"]).status_code == 204
    problem(machine("DELETE", path), 404)
    told = AuditEntry.objects.filter(event="policies:changed").order_by("id")
    assert [entry.details for entry in told] == [
        {"change": change, "effect": "deny", "covers": "findings:read", "enabled": on}
        for change, on in (("created", True), ("updated", False), ("deleted", False))
    ]
    rows = AuditEntry.objects.filter(resource_type="access.policy", event="").order_by("id")
    assert [entry.action for entry in rows] == [0, 1, 2]
    assert rows[1].changes == {"enabled": [True, False]}
    assert all(entry.actor_id == olga.pk and entry.request_id for entry in [*told, *rows])


def test_the_life_of_a_zone(olga, token):
    machine = token(olga)
    made = machine("POST", "/zones", {"name": "office", "networks": [" 10.0.0.0/8", "192.0.2.7", "10.0.0.0/8"]})
    assert (made.status_code, made.json()["networks"]) == (201, ["10.0.0.0/8", "192.0.2.7/32"])
    path = made["Location"].removeprefix("/api/v1")
    changed = machine("PATCH", path, {"networks": ["2001:DB8::/32"]}, if_match=made["ETag"])
    assert changed.json()["networks"] == ["2001:db8::/32"]
    assert machine("DELETE", path).status_code == 204
    assert not Zone.objects.exists()
    events = AuditEntry.objects.filter(event="zones:changed").order_by("id")
    assert [entry.details["change"] for entry in events] == ["created", "updated", "deleted"]


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"condition": {"all": [IN_OFFICE, {"fact": "colour", "op": "in", "value": ["red"]}]}}, "condition",
         "all[1].fact: unknown fact 'colour'; there are: account_kind,"),
        ({"condition": {"fact": "zone", "op": "in", "value": ["mars"]}}, "condition",
         "value: 'mars' is not one of office"),
        ({"condition": "zone == 'office'"}, "condition", "must be an object"),
        ({"condition": None}, "condition", "null"),
        ({"condition": {}}, "condition", "blank"),
        ({"condition": {"all": [IN_OFFICE] * 40}}, "condition", "more than 40 parts"),
        ({"resource": "me"}, "resource", "own account"),
        ({"resource": "planets"}, "resource", "There is no such resource. There are: access, admin, assets"),
        ({"action": "destroy"}, "action", "There is no such action here. There are: read, triage"),
        ({"resource": "*", "action": "explode"}, "action", "no such action"),
        ({"effect": "grant"}, "effect", "not a valid choice"),
        ({"name": ""}, "name", "blank"),
        ({"name": "a\u202eb"}, "name", "not allowed"),
        ({"name": "x" * 81}, "name", "80"),
        ({"reason": ""}, "reason", "blank"),
        ({"reason": 5}, "reason", "valid"),
        ({"enabled": "perhaps"}, "enabled", "boolean"),
        ({"uid": "01a20bd9-1d59-7949-b8ec-209801f0f979"}, "uid", "read-only"),
        ({"code": "True"}, "code", "not a field"),
    ],
)  # fmt: skip
def test_a_bad_policy_is_refused_with_a_sentence(change, field, sentence, olga, token, office):
    body = problem(token(olga)("POST", "/policies", BODY | change), 400)
    assert list(body["errors"]) == [field]
    assert sentence in str(body["errors"][field])
    assert not Policy.objects.exists()


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(BODY | {"condition": {"all": [IN_OFFICE] * 9_000}}).encode(),
        b'{"name": "x", "condition": ' + b'{"not": ' * 30_000 + b"1" + b"}" * 30_000 + b"}",
        b'{"condition": {"fact": "zone", "fact": "time", "op": "in", "value": []}}',
        b'{"condition": {"fact": "risk_score", "op": "gt", "value": ' + b"9" * 10_000 + b"}}",
        b'{"condition": {"fact": "risk_score", "op": "gt", "value": NaN}}',
    ],
    ids=["wide", "deep", "twice", "digits", "nan"],
)
def test_hostile_bodies(raw, olga, token, office):
    body = problem(token(olga)("POST", "/policies", raw=raw), 400)
    assert len(json.dumps(body)) < 1_000
    problem(token(olga)("POST", "/policies/test", raw=raw), 400)


def test_names_are_taken_once(olga, token, office):
    token(olga)("POST", "/policies", BODY)
    assert "name" in problem(token(olga)("POST", "/policies", BODY), 400)["errors"]


@pytest.mark.parametrize(
    ("networks", "sentence"),
    [
        (["10.0.0.5/8"], "'10.0.0.5/8' has bits set beyond its mask; did you mean 10.0.0.0/8?"),
        (["2001:db8::1/32"], "did you mean 2001:db8::/32?"),
        (["300.0.0.0/8"], "is not a network such as"),
        (["10.0.0.0/33"], "is not a network such as"),
        (["office"], "'office' is not a network"),
        (["10.0.0.0/8/8"], "is not a network"),
        (["fe80::1%eth0"], "is not a network"),
        ([""], "blank"),
        ([5], "valid"),
        ([None], "null"),
        ([], "at least 1"),
        ("10.0.0.0/8", "list"),
        ({"a": 1}, "list"),
        ([f"10.{n}.0.0/16" for n in range(201)], "200"),
        (["1" * 65], "64"),
    ],
)
def test_bad_networks(networks, sentence, olga, token):
    body = problem(token(olga)("POST", "/zones", {"name": "office", "networks": networks}), 400)
    assert sentence in str(body["errors"]["networks"])
    assert not Zone.objects.exists()


@pytest.mark.parametrize("name", ["Office", "the office", "", "-x", "ö", "x y", "a" * 41, "office\u202e"])
def test_bad_zone_names(name, olga, token):
    assert "name" in problem(token(olga)("POST", "/zones", {"name": name, "networks": ["10.0.0.0/8"]}), 400)["errors"]


@pytest.mark.parametrize("value", [5, None, [5], ["x"], "10.0.0.0/8"])
def test_the_model_itself_refuses_what_the_api_never_lets_through(value, db):
    with pytest.raises(ValidationError):
        services.save_zone(Zone(name="office", networks=value))


def test_mapped_networks_are_their_ipv4_networks(db):
    assert services.save_zone(Zone(name="x", networks=["::ffff:10.0.0.0/104"])).networks == ["10.0.0.0/8"]


def test_who_may(olga, adam, dev, eve, token, office):
    body = {"name": "vpn", "networks": ["10.9.0.0/16"]}
    assert token(adam)("GET", "/policies").status_code == 200
    assert token(adam)("GET", "/traces").status_code == 200
    for person in (adam, dev, eve):
        machine = token(person)
        for path, data in (("/policies", BODY), ("/zones", body)):
            problem(machine("POST", path, data), 403)
        zone = machine("DELETE", f"/zones/{office.uid}")
        problem(zone, 403)
    for path in ("/policies", "/zones", "/traces"):
        problem(token(dev)("GET", path), 403)
    problem(token(dev)("POST", "/policies/test", {"condition": ALWAYS}), 403)
    problem(token(olga, "policies:read")("POST", "/policies", BODY), 403)


def test_trying_a_condition(olga, token, client_for, office):
    raw = {"any": [IN_OFFICE, UNKNOWN]}
    machine = token(olga)
    answer = machine.client.post("/api/v1/policies/test", {"condition": raw}, "application/json", REMOTE_ADDR=OFFICE)
    body = answer.json()
    assert (answer.status_code, body["result"]) == (200, True)
    assert [(node["path"], node["result"]) for node in body["nodes"]] == [
        ("any", True), ("any[0]", True), ("any[1]", None)
    ]  # fmt: skip
    assert body["facts"].items() >= {
        "zone": ["office"], "factor": "token", "factor_age": None, "risk_score": None, "account_kind": "person"
    }.items()  # fmt: skip
    away = machine.client.post("/api/v1/policies/test", {"condition": raw}, "application/json", REMOTE_ADDR=AWAY)
    assert away.json()["result"] is None
    browser = client_for(olga, step_up=True)
    facts = browser.post("/api/v1/policies/test", {"condition": raw}, "application/json").json()["facts"]
    assert (facts["factor"], facts["factor_age"]) == ("otp", 0)
    body = problem(machine("POST", "/policies/test", {"condition": {"not": {"fact": "x"}}}), 400)
    assert body["errors"] == {"condition": ["not: lacks op, value."]}
    assert not Policy.objects.exists()
    assert not AccessTrace.objects.exists()


def test_traces_are_read_and_narrowed(olga, dev, token, office):
    make_policy("*:*", "deny", {"not": IN_OFFICE}, name="Office only")
    for path in ("/findings", "/scans"):
        token(dev)("GET", path)
    machine = token(olga).client
    rows = machine.get("/api/v1/traces", REMOTE_ADDR=OFFICE).json()["results"]
    assert [row["permission"] for row in rows] == ["scans:read", "findings:read"]
    assert rows[0].items() >= {"user": str(dev.uid), "outcome": "deny", "policy": "Office only"}.items()
    assert rows[0]["steps"][0]["nodes"][1]["fact"] == "zone"
    one = machine.get(f"/api/v1/traces?permission=scans:read&user={dev.uid}&outcome=deny", REMOTE_ADDR=OFFICE)
    assert len(one.json()["results"]) == 1
    assert machine.get(f"/api/v1/traces?user={olga.uid}", REMOTE_ADDR=OFFICE).json()["results"] == []
    for method in ("post", "delete", "patch"):
        address = f"/api/v1/traces{'' if method == 'post' else '/' + rows[0]['uid']}"
        assert getattr(machine, method)(address, REMOTE_ADDR=OFFICE).status_code == 405


# --- shutting oneself out ---


@pytest.mark.parametrize(
    ("covers", "effect", "condition", "refused"),
    [
        ("*:*", "deny", {"not": IN_OFFICE}, "policies:read"),
        ("policies:update", "deny", {"not": IN_OFFICE}, "policies:update"),
        ("policies:*", "allow", IN_OFFICE, "policies:read"),
        ("admin:enter", "deny", {"not": IN_OFFICE}, "admin:enter"),
        ("*:update", "deny", UNKNOWN, "policies:update"),
        ("*:*", "deny", {"fact": "factor", "op": "below", "value": "otp"}, "policies:read"),
    ],
)
def test_a_policy_that_shuts_its_author_out_is_refused(covers, effect, condition, refused, olga, token, office):
    resource, _, action = covers.partition(":")
    body = BODY | {"resource": resource, "action": action, "effect": effect, "condition": condition}
    machine = token(olga)
    said = problem(machine("POST", "/policies", body), 409)
    assert f"would refuse {refused} to you" in said["detail"]
    assert not Policy.objects.exists()
    assert not AuditEntry.objects.filter(event="policies:changed").exists()
    off = machine("POST", "/policies", body | {"enabled": False})
    assert off.status_code == 201
    path = off["Location"].removeprefix("/api/v1")
    problem(machine("PATCH", path, {"enabled": True}, if_match=off["ETag"]), 409)
    assert not Policy.objects.get().enabled


def test_where_the_author_stays_inside_it_is_saved(olga, token, office):
    body = BODY | {"resource": "*", "action": "*"}
    client = token(olga).client
    post = client.post("/api/v1/policies", body, "application/json", REMOTE_ADDR=OFFICE)
    assert post.status_code == 201
    assert client.get("/api/v1/policies", REMOTE_ADDR=AWAY).status_code == 403
    assert client.get("/api/v1/policies", REMOTE_ADDR=OFFICE).status_code == 200


def test_a_step_up_is_no_lockout(olga, token):
    body = BODY | {"resource": "*", "action": "*", "effect": "require_step_up", "condition": ALWAYS}
    assert token(olga)("POST", "/policies", body).status_code == 201


def test_zones_and_removals_can_shut_out_as_well(olga, token, office):
    services.save_zone(Zone(name="here", networks=["127.0.0.0/8"]))
    here = {"fact": "zone", "op": "in", "value": ["here"]}
    make_policy("*:*", "allow", here, name="from here")
    make_policy("*:*", "allow", IN_OFFICE, name="from the office")
    machine = token(olga)
    zone, policy = Zone.objects.get(name="here"), Policy.objects.get(name="from here")
    problem(machine("PATCH", f"/zones/{zone.uid}", {"networks": ["10.0.0.0/8"]}, if_match="*"), 409)
    problem(machine("DELETE", f"/policies/{policy.uid}"), 409)
    problem(machine("PATCH", f"/policies/{policy.uid}", {"condition": NEVER}, if_match="*"), 409)
    zone.refresh_from_db()
    policy.refresh_from_db()
    assert (zone.networks, policy.condition) == (["127.0.0.0/8"], here)
    other = Policy.objects.get(name="from the office")
    assert machine("DELETE", f"/policies/{other.uid}").status_code == 204
    problem(machine("DELETE", f"/zones/{zone.uid}"), 409)  # in use
    assert machine("DELETE", f"/policies/{policy.uid}").status_code == 204
    assert machine("DELETE", f"/zones/{zone.uid}").status_code == 204


def test_who_is_out_already_may_mend_it(olga, token, office):
    """With the way back partly closed, what leaves the rest open can still be saved."""
    make_policy("admin:enter", "deny", {"not": IN_OFFICE})
    assert token(olga)("POST", "/policies", BODY).status_code == 201


def test_a_zone_keeps_its_name_while_policies_speak_of_it(olga, token, office):
    make_policy("findings:read", "deny", {"any": [NEVER, {"not": IN_OFFICE}]}, name="Office only", enabled=False)
    machine = token(olga)
    body = problem(machine("PATCH", f"/zones/{office.uid}", {"name": "bureau"}, if_match="*"), 400)
    assert body["errors"] == {"name": ["It is used as office by: Office only."]}
    assert "Office only" in problem(machine("DELETE", f"/zones/{office.uid}"), 409)["detail"]
    Policy.objects.all().delete()
    assert machine("PATCH", f"/zones/{office.uid}", {"name": "bureau"}, if_match="*").status_code == 200


def test_a_change_holds_for_the_rest_of_the_same_request(olga, office):
    from django.http import HttpResponse
    from django.test import RequestFactory

    from opssight.kernel.access import decide
    from opssight.kernel.actor import ActorMiddleware

    answers = []

    def ask(request):
        answers.append(decide(olga, "findings:read").allowed)
        make_policy("findings:read", "deny", ALWAYS)
        answers.append(decide(olga, "findings:read").allowed)
        office.networks = ["127.0.0.0/8"]
        services.save_zone(office)
        make_policy("scans:read", "deny", {"not": IN_OFFICE})
        answers.append(decide(olga, "scans:read").allowed)
        return HttpResponse()

    request = RequestFactory().get("/")
    request.user = olga
    ActorMiddleware(ask)(request)
    assert answers == [True, False, True]


def test_an_explanation_names_the_policies(olga, dev, token, office, capsys):
    make_policy("findings:read", "deny", {"not": IN_OFFICE}, name="Office only")
    make_policy("findings:*", "require_step_up", ALWAYS, name="fresh", reason="Prove it.")
    listed = ["policy “Office only” (deny): Only from the office.", "policy “fresh” (require step-up): Prove it."]
    client = token(olga).client
    own = client.get("/api/v1/explain?action=findings:read", REMOTE_ADDR=AWAY).json()
    assert (own["allowed"], own["reasons"], own["obligations"]) == (False, ["Only from the office."], [])
    assert (own["conditions"], own["near_misses"]) == (listed, [])
    assert own["would_change"] == ["a request that the policy lets through"]
    asked = client.get("/api/v1/explain?action=findings:read", REMOTE_ADDR=OFFICE).json()
    assert (asked["obligations"], asked["would_change"]) == (["step_up"], ["prove the second factor again"])
    other = client.get(f"/api/v1/explain?action=findings:read&user={dev.email}", REMOTE_ADDR=AWAY).json()
    assert (other["allowed"], other["conditions"]) == (True, listed)  # the other one's request is not this one
    assert client.get("/api/v1/explain?action=me:read").json()["conditions"] == []
    with pytest.raises(SystemExit):
        call_command("explain_access", "--user", dev.email, "--action", "findings:read")
    assert "depending on: policy “Office only” (deny): Only from the office." in capsys.readouterr().out


# --- admin ---


def test_a_policy_in_the_admin(olga, client_for, office):
    client, add = client_for(olga, step_up=True), reverse("admin:access_policy_add")
    page = client.get(add)
    assert "zone (in, not_in): the network zones" in text(page)
    form = {**BODY, "enabled": "on", "condition": json.dumps(BODY["condition"])}
    assert client.post(add, form).status_code == 302
    policy = Policy.objects.get()
    assert policy.condition == BODY["condition"]
    change = reverse("admin:access_policy_change", args=[policy.pk])
    assert '"value": [ "office" ]' in text(client.get(change))
    assert client.post(change, form | {"reason": "Come in."}).status_code == 302
    policy.refresh_from_db()
    assert policy.reason == "Come in."
    assert client.post(reverse("admin:access_policy_delete", args=[policy.pk]), {"post": "yes"}).status_code == 302
    assert not Policy.objects.exists()
    assert AuditEntry.objects.filter(event="policies:changed").count() == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"condition": '{"all": [{"fact": "colour", "op": "in", "value": []}]}'}, "all[0].fact: unknown fact 'colour'"),
        ({"condition": '{"fact": "zone", "fact": "time"}'}, "The name 'fact' comes twice in one object."),
        ({"condition": "{"}, "The condition is not JSON"),
        ({"condition": "NaN"}, "NaN is not JSON."),
        ({"condition": "[" * 100_000}, "The condition is nested too deeply."),
        ({"condition": ""}, "This field is required."),
        ({"condition": "null"}, "This field is required."),
        ({"resource": "me"}, "own account"),
        ({"resource": "*", "action": "*"}, "would refuse policies:read to you"),
    ],
)
def test_a_bad_policy_is_told_on_the_form(change, sentence, olga, client_for, office):
    client = client_for(olga, step_up=True)
    form = {**BODY, "enabled": "on", "condition": json.dumps(BODY["condition"])} | change
    page = client.post(reverse("admin:access_policy_add"), form)
    assert page.status_code == 200
    assert sentence in text(page)
    assert "NoneType" not in text(page)
    assert not Policy.objects.exists()


def test_a_zone_in_the_admin(olga, client_for):
    client, add = client_for(olga, step_up=True), reverse("admin:access_zone_add")
    page = client.post(add, {"name": "office", "networks": "10.0.0.0/8\r\n10.0.0.1/8"})
    assert "did you mean 10.0.0.0/8?" in text(page)
    assert "?." not in text(page)
    assert client.post(add, {"name": "office", "networks": "10.0.0.0/8\r\n192.0.2.7\r\n"}).status_code == 302
    zone = Zone.objects.get()
    assert zone.networks == ["10.0.0.0/8", "192.0.2.7/32"]
    change = reverse("admin:access_zone_change", args=[zone.pk])
    assert "10.0.0.0/8\n192.0.2.7/32" in client.get(change).content.decode()
    make_policy("*:*", "deny", IN_OFFICE, name="not from there")
    assert "would refuse" in text(client.post(change, {"name": "office", "networks": "127.0.0.0/8"}))
    assert "used as office by: not from there" in text(client.post(change, {"name": "b", "networks": "10.0.0.0/8"}))
    refused = client.post(reverse("admin:access_zone_delete", args=[zone.pk]), {"post": "yes"}, follow=True)
    assert "is used by: not from there" in text(refused)
    actions = {"action": "delete_selected", "_selected_action": [zone.pk], "post": "yes"}
    refused = client.post(reverse("admin:access_zone_changelist"), actions, follow=True)
    assert "is used by: not from there" in text(refused)
    assert Zone.objects.exists()
    Policy.objects.all().delete()
    assert client.post(reverse("admin:access_zone_changelist"), actions).status_code == 302
    assert not Zone.objects.exists()


def test_readers_see_and_change_nothing(client_for, office):
    policy = make_policy("findings:read", "deny", {"not": IN_OFFICE})
    reader = make_person("Ada", "administrator")
    client = client_for(reader, step_up=True)
    for kind, row in (("policy", policy), ("zone", office)):
        address = reverse(f"admin:access_{kind}_change", args=[row.pk])
        assert client.get(address).status_code == 200
        assert client.post(address, {}).status_code == 403
        assert client.get(reverse(f"admin:access_{kind}_add")).status_code == 403


def test_traces_in_the_admin_are_for_reading(olga, dev, client_for, office):
    make_policy("findings:read", "deny", {"not": IN_OFFICE}, name="Office only")
    client_for(dev).get("/findings")
    client, trace = client_for(olga, step_up=True), AccessTrace.objects.get()
    assert "Office only" in text(client.get(reverse("admin:access_accesstrace_changelist")))
    address = reverse("admin:access_accesstrace_change", args=[trace.pk])
    assert "zone" in text(client.get(address))
    assert client.post(address, {}).status_code == 403
    assert client.post(reverse("admin:access_accesstrace_delete", args=[trace.pk]), {"post": "yes"}).status_code == 403


# --- on the server, and with time ---


def test_the_way_back_from_the_server(olga, client_for, capsys):
    make_policy("*:*", "deny", ALWAYS, name="everybody out")
    make_policy("*:*", "deny", UNKNOWN, name="and stay out")
    client = client_for(olga)
    assert client.get("/findings").status_code == 403
    call_command("disable_policies", "everybody out")
    assert client.get("/findings").status_code == 403
    call_command("disable_policies", "--all")
    assert client.get("/findings").status_code == 200
    assert capsys.readouterr().out == "disabled: everybody out\ndisabled: and stay out\n"
    entries = AuditEntry.objects.filter(event="policies:changed", actor_kind="command")
    assert [entry.details["change"] for entry in entries] == ["disabled"] * 2
    with pytest.raises(CommandError, match="there is no policy x"):
        call_command("disable_policies", "x")


def test_traces_are_kept_for_thirty_days(olga):
    now = timezone.now()
    for days in (31, 29):
        AccessTrace.objects.create(
            user=olga, permission="a:b", outcome="deny", policy="p", steps=[], at=now - timedelta(days=days)
        )
    purge_traces()
    assert [(now - trace.at).days for trace in AccessTrace.objects.all()] == [29]


def test_a_trace_is_written_once(olga):
    from opssight.kernel.appendonly import AppendOnly

    trace = AccessTrace.objects.create(user=olga, permission="a:b", outcome="deny", policy="p", steps=[])
    for change in (
        trace.save,
        trace.delete,
        AccessTrace.objects.all().delete,
        lambda: AccessTrace.objects.update(policy="other"),
    ):
        with pytest.raises(AppendOnly):
            change()
