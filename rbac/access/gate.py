"""Whether the policies let a request do what roles allow. Asked at every decision, answered once a request.

Deny beats everything; then, where `allow` policies cover the permission, one of them must hold; then the second factor
may be asked for again. A condition of which a fact is missing counts against the request, a policy that can't be read
refuses what it covers. No policy ever grants.

Policies are about requests. Commands and tasks have no client, no session and no factor: every fact would be missing
and every worker shut out, so outside a request nothing is gated; nor is a question about somebody other than the
requester, whose own request is not this one.
"""

import ipaddress
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property, lru_cache
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import QuerySet, TextField, Value
from django.db.models.functions import Cast

from accounts.strength import LEVELS, is_enough
from opssight.kernel import facts
from opssight.kernel.access import STEP_UP, STEP_UP_VALID, Decision
from opssight.kernel.actor import current_request, request_memory
from opssight.kernel.facts import MISSING
from rbac.access import conditions
from rbac.access.conditions import Answer, BadCondition, Node, Read
from rbac.access.models import ANY, EXEMPT, AccessTrace, FactorRule, Network, Policy, Zone, network

log = logging.getLogger("opssight.access")
MEMORY = "rbac.access"
PASSED = Decision(True)
T = TypeVar("T")
Effect, Outcome = Policy.Effect, AccessTrace.Outcome


# --- the rules ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """A policy as it is applied; its condition is the text of the JSON."""

    uid: UUID
    name: str
    resource: str
    action: str
    effect: str
    condition: str
    reason: str
    level: str = ""  # of a step-up: the weakest factor that does, and how long it counts
    valid: timedelta = STEP_UP_VALID

    @classmethod
    def of(cls, policy: Policy) -> "Rule":
        written, p = json.dumps(policy.condition), policy
        return cls(
            p.uid,
            p.name,
            p.resource,
            p.action,
            p.effect,
            written,
            p.reason,
            p.level,
            _minutes(p.max_age, STEP_UP_VALID),
        )

    def covers(self, permission: str) -> bool:
        resource, _, action = permission.partition(":")
        return self.resource in (ANY, resource) and self.action in (ANY, action)


def _minutes(given: Any, default: T) -> timedelta | T:
    return timedelta(minutes=int(given)) if given else default


# What a text means never changes, so these two are kept from request to request; the texts are read in each.


@lru_cache(maxsize=512)
def _compiled(condition: str, zones: tuple[str, ...]) -> Node:
    try:
        return conditions.compiled(json.loads(condition), zones)
    except RecursionError:
        raise BadCondition("", "is nested too deeply") from None


@lru_cache(maxsize=512)
def _networks(written: str) -> tuple[Network, ...] | None:
    """The networks of a zone, None where they can't be read."""
    given = json.loads(written)
    try:
        return tuple(network(text) for text in given) if isinstance(given, list) else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Demand:
    """What a role asks of the second factor: a level, an age at most, and from when a weaker one is refused."""

    level: str
    max_age: timedelta | None
    due_at: datetime


@dataclass(frozen=True)
class RuleBook:
    """All enabled policies and all zones. `zones` maps a name to its networks, None where they can't be read;
    `demands` maps a role's id to what it asks of the second factor."""

    rules: tuple[Rule, ...]
    zones: dict[str, tuple[Network, ...] | None]
    demands: dict[int, Demand] = field(default_factory=dict)

    @cached_property
    def known_zones(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, networks in self.zones.items() if networks is not None))

    def zones_of(self, address: str | None) -> Any:
        if address is None:
            return MISSING
        client = ipaddress.ip_address(address)
        return frozenset(
            name for name, networks in self.zones.items() if any(client in part for part in networks or ())
        )

    def with_policy(self, policy: Policy) -> "RuleBook":
        """As it would be once this policy was saved."""
        others = self.without_policy(policy).rules
        return replace(self, rules=(*others, Rule.of(policy)) if policy.enabled else others)

    def without_policy(self, policy: Policy) -> "RuleBook":
        return replace(self, rules=tuple(rule for rule in self.rules if rule.uid != policy.uid))

    def with_zone(self, zone: Zone) -> "RuleBook":
        return replace(self, zones={**self.zones, zone.name: _networks(json.dumps(zone.networks))})


def load() -> RuleBook:
    """All three tables in one query: the gate is asked in every request of everybody who is signed in."""
    rules, found, demands = [], {}, {}
    for table, *row in _all_tables().all():
        if table == "policy":
            rules.append(replace(Rule(*row[:8]), valid=_minutes(row[8], STEP_UP_VALID)))
        elif table == "zone":
            found[row[1]] = _networks(row[5])
        else:
            since = datetime.fromisoformat(row[6])
            since = since if since.tzinfo else since.replace(tzinfo=UTC)  # SQLite keeps times as text, in UTC
            due = since + timedelta(days=int(row[5]))
            demands[int(row[1])] = Demand(row[7], _minutes(row[8], None), due)
    return RuleBook(tuple(sorted(rules, key=lambda rule: rule.name)), found, demands)


@cache
def _all_tables() -> QuerySet[Any, Any]:
    """The query, built once since that costs more than running it; each `all()` of it asks anew."""
    blank = [Value("") for _ in range(3)]
    policies = Policy.objects.enabled().values_list(
        Value("policy"),
        "uid",
        "name",
        "resource",
        "action",
        "effect",
        _text("condition"),
        "reason",
        "level",
        _text("max_age"),
    )
    zones = Zone.objects.values_list(
        Value("zone"), "uid", "name", *blank, _text("networks"), Value(""), Value(""), _text(Value(None))
    )
    demands = FactorRule.objects.enabled().values_list(
        Value("demand"),
        "uid",
        _text("role_id"),
        *blank,
        _text("grace_days"),
        _text("enabled_at"),
        "level",
        _text("max_age"),
    )
    return policies.union(zones, demands, all=True)


def _text(column: Any) -> Cast:
    return Cast(column, TextField())


# --- judging ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hearing:
    """What one rule said in this request. `fault` is why it can't be read."""

    rule: Rule
    answer: Answer
    fault: str = ""

    @property
    def stands(self) -> bool:
        """Whether it speaks against the request: its condition holds, or nobody knows."""
        return self.answer.result is not False

    def told(self) -> dict[str, Any]:
        return {
            "policy": self.rule.name,
            "uid": str(self.rule.uid),
            "effect": self.rule.effect,
            "result": self.answer.result,
            **({"fault": self.fault} if self.fault else {}),
            "nodes": list(self.answer.nodes),
        }


@dataclass(frozen=True)
class Verdict:
    """`outcome` is empty where nothing stands in the way; `decisive` are the hearings that stood in it."""

    outcome: str = ""
    sentence: str = ""
    decisive: tuple[Hearing, ...] = ()

    @property
    def policy(self) -> str:
        return self.decisive[0].rule.name if self.decisive else ""

    @property
    def level(self) -> str:
        """The strongest factor that one of the unmet step-ups takes."""
        return max((hearing.rule.level for hearing in self.decisive), key=("", *LEVELS).index, default="")

    def steps(self) -> list[dict[str, Any]]:
        return [hearing.told() for hearing in self.decisive]

    def decision(self) -> Decision:
        if not self.outcome:
            return PASSED
        if self.outcome == Outcome.STEP_UP:
            return Decision(False, (self.sentence,), (STEP_UP,), self.policy, self.level)
        return Decision(False, (self.sentence,), (), self.policy)


@dataclass
class Court:
    """The rules before one request: each rule is heard at most once, each permission judged at most once."""

    book: RuleBook
    read: Read
    heard: dict[UUID, Hearing] = field(default_factory=dict)
    judged: dict[str, Verdict] = field(default_factory=dict)

    def hear(self, rule: Rule) -> Hearing:
        if rule.uid not in self.heard:
            try:
                tree = _compiled(rule.condition, self.book.known_zones)
                if rule.effect not in Effect.values:
                    raise BadCondition("effect", f"there is no effect {rule.effect!r}")
                self.heard[rule.uid] = Hearing(rule, conditions.evaluate(tree, self.read))
            except BadCondition as error:
                log.error("the policy %s can't be read and refuses what it covers: %s", rule.name, error)
                self.heard[rule.uid] = Hearing(rule, Answer(None), str(error))
        return self.heard[rule.uid]

    def judge(self, permission: str) -> Verdict:
        if permission not in self.judged:
            hearings = [self.hear(rule) for rule in self.book.rules if rule.covers(permission)]
            self.judged[permission] = judged(hearings, self._is_met)
        return self.judged[permission]

    def _is_met(self, rule: Rule) -> bool:
        age = self.read("factor_age")
        if age is MISSING or timedelta(seconds=age) >= rule.valid:
            return False
        level = self.read("factor") if rule.level else ""
        return level is not MISSING and (not rule.level or is_enough(level, rule.level))


def judged(hearings: Iterable[Hearing], is_met: Callable[[Rule], bool]) -> Verdict:
    """The rule itself, on what was heard. `is_met`: whether a factor was proved that is strong and fresh enough."""
    by_effect: dict[str, list[Hearing]] = {}
    broken = []
    for hearing in hearings:
        if hearing.fault:
            broken.append(hearing)
        else:
            by_effect.setdefault(hearing.rule.effect, []).append(hearing)
    if broken:
        name = broken[0].rule.name
        return Verdict(Outcome.DENY, f"The policy “{name}” can't be read, so it refuses. Tell who runs it.", (*broken,))
    if against := [hearing for hearing in by_effect.get(Effect.DENY, []) if hearing.stands]:
        return Verdict(Outcome.DENY, _sentence(against), (*against,))
    allowing = by_effect.get(Effect.ALLOW, [])
    if allowing and not any(hearing.answer.result is True for hearing in allowing):
        return Verdict(Outcome.DENY, _sentence(allowing), (*allowing,))
    asking = [hearing for hearing in by_effect.get(Effect.REQUIRE_STEP_UP, []) if hearing.stands]
    if unmet := [hearing for hearing in asking if not is_met(hearing.rule)]:
        return Verdict(Outcome.STEP_UP, f"This needs your second factor again. {_sentence(unmet)}", (*unmet,))
    return Verdict()


def _sentence(hearings: list[Hearing]) -> str:
    """The reasons of the policies, and which facts nobody knew."""
    given = dict.fromkeys(hearing.rule.reason.rstrip(".") for hearing in hearings[:3])
    reasons = " ".join(f"{reason}." for reason in given)
    unsure = [hearing.answer for hearing in hearings if hearing.answer.result is None]
    missing = sorted({name for answer in unsure for name in answer.missing})
    return f"{reasons} (Not known here: {', '.join(missing)}.)" if missing else reasons


# --- in a request -------------------------------------------------------------------------------------------------


def court() -> Court:
    """The court of this request and its account; within it, the rules are read once."""
    sitting: dict[Any, Court] = request_memory().setdefault(MEMORY, {})
    who = _asker()
    if who not in sitting:
        sitting[who] = Court(load(), facts.read)
    return sitting[who]


def _asker() -> Any:
    """The account behind this request, None for nobody: sign-in changes it on the way."""
    return getattr(getattr(current_request(), "user", None), "pk", None)


def forget() -> None:
    """Policies or zones were changed: what this request decides from now on goes by the new ones."""
    request_memory().pop(MEMORY, None)
    facts.forget()


def is_asked(user: Any, permission: str) -> bool:
    """Whether the policies have a word in this: see the top of the module."""
    if current_request() is None or permission.partition(":")[0] in EXEMPT:
        return False
    return _asker() in (None, user.pk)


def gate(user: Any, permission: str) -> Decision:
    """PASSED, or the refusal: denied, or with the obligation to step up. Says nothing of what roles allow."""
    if not is_asked(user, permission):
        return PASSED
    sitting = court()
    first = permission not in sitting.judged
    verdict = sitting.judge(permission)
    if first:
        said = {"permission": permission, "outcome": verdict.outcome or "allow", "actor": user.pk}
        log.debug("access", extra={"said": said})
    return verdict.decision()


def conditions_on(permission: str) -> list[str]:
    """The policies that may refuse it, for an explanation: what they say depends on the request."""
    if permission.partition(":")[0] in EXEMPT:
        return []
    labels = dict(Effect.choices)
    return [
        f"policy “{rule.name}” ({labels.get(rule.effect, rule.effect).lower()}): {rule.reason}"
        for rule in load().rules
        if rule.covers(permission)
    ]


def verdict_given(user: Any, permission: str) -> Verdict | None:
    """What was judged in this request, if it was: for the trace of a refusal."""
    if not is_asked(user, permission):
        return None
    sitting: Court | None = request_memory().get(MEMORY, {}).get(_asker())
    return sitting.judged.get(permission) if sitting else None
