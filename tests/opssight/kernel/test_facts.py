"""The registry of facts: typed, provided once, missing where nobody knows."""

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.test import RequestFactory

from opssight.kernel import facts
from opssight.kernel.actor import ActorMiddleware
from opssight.kernel.facts import MISSING, Choice, Duration, Level, Names, Number, TimeOfDay


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(facts, "registry", dict(facts.registry))
    monkeypatch.setattr(facts, "_providers", dict(facts._providers))


def in_request(read):
    """What `read` returns inside a request."""
    found = []
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    ActorMiddleware(lambda request: found.append(read()) or HttpResponse())(request)
    return found[0]


def test_the_facts():
    kinds = {name: type(fact.kind).__name__ for name, fact in facts.registry.items()}
    assert kinds == {
        "posture_age": "Duration",
        "risk_score": "Number",
        "factor": "Level",
        "factor_age": "Duration",
        "zone": "Names",
        "weekday": "Choice",
        "time": "TimeOfDay",
        "account_kind": "Choice",
    }
    assert facts.registry.keys() - facts._providers.keys() == {"risk_score"}


def test_a_second_registration_or_provider_is_refused(registry):
    with pytest.raises(ValueError, match="twice"):
        facts.register("zone", Names(), "again")
    facts.provide("risk_score", lambda request: 5)
    with pytest.raises(ValueError, match="two providers"):
        facts.provide("risk_score", lambda request: 6)
    with pytest.raises(ValueError, match="no fact"):
        facts.provide("colour", lambda request: "red")


def test_read_once_a_request_and_only_when_asked(registry):
    asked = []
    facts.provide("risk_score", lambda request: asked.append(request) or 5)
    assert in_request(lambda: [facts.read("risk_score"), facts.read("risk_score")]) == [5, 5]
    assert len(asked) == 1
    assert in_request(lambda: 0) == 0
    assert len(asked) == 1
    assert in_request(lambda: [facts.read("risk_score"), facts.forget(), facts.read("risk_score")]) == [5, None, 5]
    assert len(asked) == 3


def test_missing_without_a_provider_and_outside_a_request(registry):
    assert in_request(lambda: facts.read("risk_score")) is MISSING
    facts.provide("risk_score", lambda request: 5)
    assert facts.read("risk_score") is MISSING


@pytest.mark.parametrize("value", [101, -1, 5.0, True, "5", None, [5]])
def test_a_value_of_another_kind_is_missing(registry, value):
    facts.provide("risk_score", lambda request: value)
    assert in_request(lambda: facts.read("risk_score")) is MISSING


def test_a_provider_that_fails_is_missing_and_logged(registry, caplog):
    def broken(request):
        raise RuntimeError("the feed is gone")

    facts.provide("risk_score", broken)
    assert in_request(lambda: facts.read("risk_score")) is MISSING
    assert "risk_score" in caplog.text


def test_missing_is_neither_true_nor_false():
    with pytest.raises(TypeError):
        bool(MISSING)


@pytest.mark.parametrize(
    ("kind", "good", "bad", "told"),
    [
        (Names(), frozenset({"b", "a"}), {"a"}, ["a", "b"]),
        (Choice(("x", "y")), "x", "z", "x"),
        (Level(("x", "y")), "y", None, "y"),
        (Number(0, 5), 5, 6, 5),
        (Duration(), 0, -1, 0),
        (TimeOfDay(), 510, 1440, "08:30"),
    ],
)
def test_kinds(kind, good, bad, told):
    assert kind.accepts(good)
    assert not kind.accepts(bad)
    assert kind.told(good) == told
