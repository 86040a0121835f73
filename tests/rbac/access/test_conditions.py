"""The language of conditions: what each operator says, three-valued logic, and how bad trees are refused."""

import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from opssight.kernel.access import STEP_UP_VALID
from opssight.kernel.facts import MISSING, registry
from rbac.access import conditions
from rbac.access.conditions import MAX_NODES, BadCondition, combined, compiled, evaluate, zones_used
from rbac.access.gate import Court, Rule, RuleBook, judged

ZONES = ["factory", "office", "vpn"]


def leaf(fact, op, value):
    return {"fact": fact, "op": op, "value": value}


def says(raw, **known):
    return evaluate(compiled(raw, ZONES), lambda name: known.get(name, MISSING)).result


# --- operators ---


@pytest.mark.parametrize(
    ("fact", "op", "value", "found", "result"),
    [
        ("zone", "in", ["office", "vpn"], frozenset({"vpn", "factory"}), True),
        ("zone", "in", ["office"], frozenset({"vpn"}), False),
        ("zone", "in", ["office"], frozenset(), False),
        ("zone", "not_in", ["office"], frozenset(), True),
        ("zone", "not_in", ["office", "vpn"], frozenset({"vpn"}), False),
        ("account_kind", "in", ["service"], "service", True),
        ("account_kind", "in", ["service"], "person", False),
        ("account_kind", "not_in", ["service"], "person", True),
        ("weekday", "in", ["sat", "sun"], "sun", True),
        ("weekday", "not_in", ["sat", "sun"], "sun", False),
        ("factor", "in", ["otp"], "otp", True),
        ("factor", "not_in", ["token"], "token", False),
        ("factor", "at_least", "otp", "otp", True),
        ("factor", "at_least", "otp", "token", False),
        ("factor", "at_least", "token", "otp", True),
        ("factor", "at_least", "none", "none", True),
        ("factor", "below", "otp", "token", True),
        ("factor", "below", "otp", "otp", False),
        ("factor", "below", "none", "none", False),
        ("risk_score", "gt", 70, 71, True),
        ("risk_score", "gt", 70, 70, False),
        ("risk_score", "lt", 70, 69, True),
        ("risk_score", "lt", 70, 70, False),
        ("risk_score", "between", [10, 20], 10, True),
        ("risk_score", "between", [10, 20], 20, True),
        ("risk_score", "between", [10, 20], 21, False),
        ("factor_age", "older_than", 900, 901, True),
        ("factor_age", "older_than", 900, 900, False),
        ("posture_age", "within", 86400, 86400, True),
        ("posture_age", "within", 86400, 86401, False),
        ("time", "between", ["08:00", "18:00"], 8 * 60, True),
        ("time", "between", ["08:00", "18:00"], 18 * 60 - 1, True),
        ("time", "between", ["08:00", "18:00"], 18 * 60, False),
        ("time", "between", ["22:00", "06:00"], 23 * 60, True),
        ("time", "between", ["22:00", "06:00"], 0, True),
        ("time", "between", ["22:00", "06:00"], 6 * 60, False),
        ("time", "between", ["22:00", "06:00"], 12 * 60, False),
    ],
)
def test_each_operator(fact, op, value, found, result):
    raw = leaf(fact, op, value)
    assert says(raw, **{fact: found}) is result
    assert says({"not": raw}, **{fact: found}) is not result
    assert says(raw) is None
    assert says({"not": raw}) is None


def test_every_operator_of_every_kind_stands_in_the_table_above():
    table = test_each_operator.pytestmark[0].args[1]
    tried = {(type(registry[fact].kind), op) for fact, op, *_ in table}
    assert tried == {(kind, op) for kind, operators in conditions.OPERATORS.items() for op in operators}


# --- groups ---


@pytest.mark.parametrize(
    ("op", "results", "result"),
    [
        ("all", [True, True], True),
        ("all", [True, False], False),
        ("all", [True, None], None),
        ("all", [False, None], False),
        ("all", [None, None], None),
        ("any", [False, False], False),
        ("any", [True, False], True),
        ("any", [True, None], True),
        ("any", [False, None], None),
        ("any", [None, None], None),
        ("not", [True], False),
        ("not", [False], True),
        ("not", [None], None),
    ],
)
def test_three_valued_logic(op, results, result):
    assert combined(op, results) is result
    assert combined(op, results[::-1]) is result


def test_the_trace_has_every_node_with_its_place():
    raw = {"all": [leaf("zone", "in", ["office"]), {"not": {"any": [leaf("risk_score", "gt", 70)]}}]}
    answer = evaluate(compiled(raw, ZONES), lambda name: frozenset({"vpn"}) if name == "zone" else MISSING)
    assert answer.result is False
    assert [(node["path"], node["result"]) for node in answer.nodes] == [
        ("all", False),
        ("all[0]", False),
        ("all[1].not", None),
        ("all[1].not.any", None),
        ("all[1].not.any[0]", None),
    ]
    assert answer.nodes[1] == {
        "path": "all[0]", "op": "in", "fact": "zone", "value": ["office"], "found": ["vpn"], "result": False
    }  # fmt: skip
    assert answer.missing == ["risk_score"]
    json.dumps(answer.nodes, allow_nan=False)


# --- whatever the tree ---

levels = st.sampled_from(["none", "token", "otp"])
names = st.lists(st.sampled_from(ZONES), min_size=1, max_size=3)
scores, seconds = st.integers(0, 100), st.integers(0, 2000)
clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
leaves = st.one_of(
    st.builds(leaf, st.just("zone"), st.sampled_from(["in", "not_in"]), names),
    st.builds(leaf, st.just("factor"), st.sampled_from(["at_least", "below"]), levels),
    st.builds(leaf, st.just("risk_score"), st.sampled_from(["lt", "gt"]), scores),
    st.builds(leaf, st.just("risk_score"), st.just("between"), st.tuples(scores, scores).map(sorted)),
    st.builds(leaf, st.sampled_from(["factor_age", "posture_age"]), st.sampled_from(["older_than", "within"]), seconds),
    st.builds(leaf, st.just("weekday"), st.just("in"), st.lists(st.sampled_from(["mon", "sun"]), min_size=1)),
    st.builds(
        leaf, st.just("time"), st.just("between"), st.lists(clocks, min_size=2, max_size=2, unique=True)
    ),
)  # fmt: skip
trees = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.builds(lambda some: {"all": some}, st.lists(parts, min_size=1, max_size=4)),
        st.builds(lambda some: {"any": some}, st.lists(parts, min_size=1, max_size=4)),
        st.builds(lambda one: {"not": one}, parts),
    ),
    max_leaves=8,
)
known_facts = st.fixed_dictionaries(
    {},
    optional={
        "zone": st.frozensets(st.sampled_from(ZONES)),
        "factor": levels,
        "risk_score": scores,
        "factor_age": seconds,
        "posture_age": seconds,
        "weekday": st.sampled_from(["mon", "tue", "sun"]),
        "time": st.integers(0, 1439),
    },
)


def minutes(text):
    return int(text[:2]) * 60 + int(text[3:])


def reference(raw, known):
    """Written again and otherwise: truth as a number, 1, 0 and ½ for what is not known (Łukasiewicz)."""
    if "all" in raw:
        return min(reference(part, known) for part in raw["all"])
    if "any" in raw:
        return max(reference(part, known) for part in raw["any"])
    if "not" in raw:
        return 1 - reference(raw["not"], known)
    fact, op, value = raw["fact"], raw["op"], raw["value"]
    if fact not in known:
        return 0.5
    found = known[fact]
    order = ["none", "token", "otp"]
    if op in ("in", "not_in"):
        inside = any(name in value for name in found) if fact == "zone" else found in value
        return int(inside == (op == "in"))
    if op in ("at_least", "below"):
        return int((order.index(found) >= order.index(value)) == (op == "at_least"))
    if fact == "time":
        start, end, at = minutes(value[0]), minutes(value[1]), found
        return int((at - start) % 1440 < (end - start) % 1440)
    if op == "between":
        return int(found in range(value[0], value[1] + 1))
    return int({"lt": found < value, "gt": found > value, "older_than": found > value, "within": not found > value}[op])


def compiled_or_skipped(raw):
    try:
        return compiled(raw, ZONES)
    except BadCondition:  # larger than allowed; nothing else may be wrong with it
        assume(False)


@given(trees)
@settings(max_examples=200)
def test_what_is_generated_is_only_ever_too_large(raw):
    try:
        compiled(raw, ZONES)
    except BadCondition as error:
        assert "deep" in str(error) or "more than" in str(error)


@given(trees, known_facts)
@settings(max_examples=300)
def test_evaluation_equals_the_reference(raw, known):
    tree = compiled_or_skipped(raw)
    expected = {0: False, 1: True, 0.5: None}[reference(raw, known)]
    assert evaluate(tree, lambda name: known.get(name, MISSING)).result is expected


rules = st.lists(st.tuples(st.sampled_from(["deny", "require_step_up", "allow"]), trees), max_size=5)
STRICTNESS = {"": 0, "step_up": 1, "deny": 2}


def outcome(effects, known):
    book = RuleBook(
        tuple(
            Rule(number, f"policy {number}", "*", "*", effect, json.dumps(raw), "why")
            for number, (effect, raw) in effects
        ),
        dict.fromkeys(ZONES, ()),
    )
    return Court(book, lambda name: known.get(name, MISSING)).judge("findings:read").outcome


@given(rules, known_facts)
@settings(max_examples=300)
def test_the_verdict_equals_the_reference(given_rules, known):
    for _, raw in given_rules:
        compiled_or_skipped(raw)
    results = [(effect, reference(raw, known)) for effect, raw in given_rules]
    fresh = known.get("factor_age", 10**9) < STEP_UP_VALID.total_seconds()
    expected = ""
    if not fresh and any(effect == "require_step_up" and result > 0 for effect, result in results):
        expected = "step_up"
    allowing = [result for effect, result in results if effect == "allow"]
    if any(effect == "deny" and result > 0 for effect, result in results) or (allowing and max(allowing) < 1):
        expected = "deny"
    assert outcome(list(enumerate(given_rules)), known) == expected


@given(rules, known_facts, st.sets(st.sampled_from(sorted(registry))))
@settings(max_examples=300)
def test_losing_sight_of_a_fact_never_opens_a_door(given_rules, known, lost):
    for _, raw in given_rules:
        compiled_or_skipped(raw)
    rest = {name: value for name, value in known.items() if name not in lost}
    effects = list(enumerate(given_rules))
    assert STRICTNESS[outcome(effects, rest)] >= STRICTNESS[outcome(effects, known)]


def test_no_policies_no_word():
    assert judged([], lambda rule: False).outcome == ""


# --- bad trees ---

GOOD = leaf("zone", "in", ["office"])
FACTS = "account_kind, factor, factor_age, posture_age, risk_score, time, weekday, zone"


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"all": [GOOD, leaf("colour", "in", ["red"])]}, f"all[1].fact: unknown fact 'colour'; there are: {FACTS}"),
        (leaf("owner__password__startswith", "in", ["a"]), "fact: unknown fact 'owner__password__startswith'"),
        (leaf(["zone"], "in", ["office"]), "fact: unknown fact list"),
        (leaf("zone", "eq", ["office"]), "op: zone does not take 'eq'; there are: in, not_in"),
        (leaf("zone", "__class__", ["office"]), "op: zone does not take '__class__'"),
        (leaf("zone", ["in"], ["office"]), "op: zone does not take list"),
        (leaf("risk_score", "older_than", 5), "op: risk_score does not take 'older_than'; there are: lt, gt, between"),
        ({"not": {"any": [GOOD, leaf("zone", "in", ["mars"])]}}, "not.any[1].value: 'mars' is not one of factory, off"),
        (leaf("zone", "in", "office"), "value: must be a list of 1 to 50 names"),
        (leaf("zone", "in", []), "value: must be a list of 1 to 50 names"),
        (leaf("zone", "in", ["office"] * 51), "value: must be a list of 1 to 50 names"),
        (leaf("zone", "in", [["office"]]), "value: list is not one of"),
        (leaf("zone", "in", [None]), "value: NoneType is not one of"),
        (leaf("factor", "at_least", "retina"), "value: 'retina' is not one of message, none, otp, passkey, token"),
        (leaf("factor", "at_least", ["otp"]), "value: list is not one of"),
        (leaf("risk_score", "gt", "70"), "value: must be a whole number, not '70'"),
        (leaf("risk_score", "gt", True), "value: must be a whole number, not bool"),
        (leaf("risk_score", "gt", 0.5), "value: must be a whole number, not float"),
        (leaf("risk_score", "gt", 101), "value: must lie between 0 and 100"),
        (leaf("risk_score", "gt", 10**40), "value: must lie between 0 and 100"),
        (leaf("risk_score", "between", [20, 10]), "value: must not end before it begins"),
        (leaf("risk_score", "between", [20]), "value: must be a list of two, from and to"),
        (leaf("factor_age", "older_than", -1), "value: must lie between 0"),
        (leaf("time", "between", ["8:00", "18:00"]), "value: '8:00' is not a time of day such as \"08:30\""),
        (leaf("time", "between", ["24:00", "18:00"]), "value: '24:00' is not a time"),
        (leaf("time", "between", ["08:00\n", "18:00"]), "value: '08:00\\n' is not a time"),
        (leaf("time", "between", ["٠٨:٠٠", "18:00"]), "is not a time"),
        (leaf("time", "between", ["08:00", "08:00"]), "value: begins and ends at the same minute"),
        ({"all": []}, "all: must be a list of one or more conditions"),
        ({"all": GOOD}, "all: must be a list of one or more conditions"),
        ({"not": [GOOD]}, "not: must be an object, not list"),
        ({"all": [GOOD], "any": [GOOD]}, "the condition has 'any' beside all; a group stands alone"),
        ({"all": [GOOD, {"not": GOOD, "fact": "zone"}]}, "all[1]: has 'fact' beside not"),
        ({"fact": "zone", "op": "in"}, "the condition lacks value"),
        ({"any": [{}]}, "any[0]: lacks fact, op, value"),
        ({**GOOD, "python": "import os"}, "the condition does not take 'python'; there are: all, any, not, fact, op"),
        ("zone in office", "the condition must be an object, not 'zone in office'"),
        (None, "the condition must be an object, not NoneType"),
        ([GOOD], "the condition must be an object, not list"),
        (5, "the condition must be an object, not int"),
        ({"not": {"not": {"not": {"not": {"not": GOOD}}}}}, "not.not.not.not.not: is nested more than 5 deep"),
        ({"all": [GOOD] * MAX_NODES}, "the condition has more than 40 parts"),
    ],
)  # fmt: skip
def test_a_bad_tree_is_refused_with_the_place_of_its_fault(raw, sentence):
    with pytest.raises(BadCondition) as refusal:
        compiled(raw, ZONES)
    assert sentence in str(refusal.value)
    assert len(str(refusal.value)) < 300


def test_the_largest_that_is_allowed():
    compiled({"all": [GOOD] * (MAX_NODES - 1)}, ZONES)
    compiled({"not": {"not": {"not": {"not": GOOD}}}}, ZONES)


def nested(depth):
    raw = GOOD
    for _ in range(depth):
        raw = {"not": raw}
    return raw


@pytest.mark.parametrize(
    "raw",
    [
        {"all": [GOOD] * 1_000_000},
        {"any": [{"all": [GOOD] * 1000}] * 1000},
        nested(100_000),
        leaf("x" * 1_000_000, "in", []),
        leaf("zone", "x" * 1_000_000, []),
        leaf("zone", "in", ["x" * 1_000_000]),
        leaf("zone", "in", ["office"] * 1_000_000),
        {f"key {n}": 1 for n in range(50_000)},
    ],
    ids=["wide", "wide twice", "deep", "fact", "op", "value", "values", "keys"],
)
def test_hostile_sizes_are_refused_shortly_and_in_short(raw):
    with pytest.raises(BadCondition) as refusal:
        compiled(raw, ZONES)
    assert len(str(refusal.value)) < 300


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["zone", "in", "office"]),
        lambda parts: (
            st.lists(parts, max_size=3)
            | st.dictionaries(st.sampled_from(["all", "any", "not", "fact", "op", "value", "x"]), parts, max_size=4)
        ),
        max_leaves=12,
    )
)
@settings(max_examples=400)
def test_whatever_comes_in_is_compiled_or_refused(raw):
    try:
        tree = compiled(raw, ZONES)
    except BadCondition:
        return
    assert evaluate(tree, lambda name: MISSING).result is None


def test_the_zones_of_a_condition():
    raw = {"any": [GOOD, {"not": leaf("zone", "not_in", ["vpn"])}, leaf("weekday", "in", ["mon"])]}
    assert zones_used(raw, ZONES) == {"office", "vpn"}
    assert zones_used("nonsense", ZONES) == set()
