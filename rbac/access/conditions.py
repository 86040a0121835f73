"""The language of conditions: a tree of JSON, checked against the registered facts and never executed as code.

    {"all": [{"fact": "zone", "op": "not_in", "value": ["office"]}, {"not": {"fact": …}}]}

A condition is true, false or not known: None stands for "a fact that it needs is missing". Groups follow Kleene's
three-valued logic, so that a missing fact matters exactly where it could have decided.
"""

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from opssight.kernel import facts
from opssight.kernel.facts import MISSING, Fact

MAX_DEPTH, MAX_NODES, MAX_VALUES = 5, 40, 50
MAX_SECONDS = 10 * 366 * 24 * 3600
GROUPS = ("all", "any", "not")
LEAF = ("fact", "op", "value")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)

Truth = bool | None
Read = Callable[[str], Any]


class BadCondition(ValueError):
    """What is wrong with a condition, and where: "all[1].fact: unknown fact 'colour'; there are: …"."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else f"the condition {problem}")


# --- operators ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operator:
    """`operand` turns the JSON value into what `holds` compares the fact with, or raises ValueError with a sentence."""

    operand: Callable[[Any, Any, Collection[str]], Any]
    holds: Callable[[Any, Any], bool]


def _shown(value: Any) -> str:
    """Enough of a wrong value to recognise it; nothing that came in is repeated at length."""
    return repr(value[:40]) if isinstance(value, str) else type(value).__name__


def _whole(value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"must be a whole number, not {_shown(value)}")
    if not low <= value <= high:
        raise ValueError(f"must lie between {low} and {high}")
    return value


def _pair(value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("must be a list of two, from and to")
    return value[0], value[1]


def _one(value: Any, kind: Any, names: Collection[str]) -> str:
    if not isinstance(value, str) or value not in names:
        told = ", ".join(sorted(names)[:MAX_VALUES]) if names else "(there are none yet)"
        raise ValueError(f"{_shown(value)} is not one of {told}")
    return value


def _several(value: Any, kind: Any, names: Collection[str]) -> frozenset[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
        raise ValueError(f"must be a list of 1 to {MAX_VALUES} names")
    return frozenset(_one(item, kind, names) for item in value)


def _rank(value: Any, kind: facts.Level, names: Collection[str]) -> frozenset[str]:
    """The levels from `value` up."""
    return frozenset(kind.values[kind.values.index(_one(value, kind, names)) :])


def _number(value: Any, kind: facts.Number, names: Collection[str]) -> int:
    return _whole(value, kind.low, kind.high)


def _range(value: Any, kind: facts.Number, names: Collection[str]) -> tuple[int, int]:
    low, high = (_number(side, kind, names) for side in _pair(value))
    if low > high:
        raise ValueError("must not end before it begins")
    return low, high


def _seconds(value: Any, kind: Any, names: Collection[str]) -> int:
    return _whole(value, 0, MAX_SECONDS)


def _minutes(value: Any) -> int:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{_shown(value)} is not a time of day such as "08:30"')
    return int(match[1]) * 60 + int(match[2])


def _span(value: Any, kind: Any, names: Collection[str]) -> tuple[int, int]:
    start, end = map(_minutes, _pair(value))
    if start == end:
        raise ValueError("begins and ends at the same minute; is it never or always?")
    return start, end


def _within_span(minute: int, span: tuple[int, int]) -> bool:
    """From the first minute up to, not including, the last; over midnight where it ends before it begins."""
    start, end = span
    return start <= minute < end if start < end else minute >= start or minute < end


_ONE_OF = {
    "in": Operator(_several, lambda found, among: found in among),
    "not_in": Operator(_several, lambda found, among: found not in among),
}
OPERATORS: dict[type[facts.Kind], dict[str, Operator]] = {
    facts.Names: {
        "in": Operator(_several, lambda found, among: bool(found & among)),
        "not_in": Operator(_several, lambda found, among: not found & among),
    },
    facts.Choice: _ONE_OF,
    facts.Level: {
        **_ONE_OF,
        "at_least": Operator(_rank, lambda found, up: found in up),
        "below": Operator(_rank, lambda found, up: found not in up),
    },
    facts.Number: {
        "lt": Operator(_number, lambda found, limit: found < limit),
        "gt": Operator(_number, lambda found, limit: found > limit),
        "between": Operator(_range, lambda found, limits: limits[0] <= found <= limits[1]),
    },
    facts.Duration: {
        "older_than": Operator(_seconds, lambda found, limit: found > limit),
        "within": Operator(_seconds, lambda found, limit: found <= limit),
    },
    facts.TimeOfDay: {"between": Operator(_span, _within_span)},
}


def vocabulary() -> str:
    """Every fact with its operators, for people who write conditions."""
    return "; ".join(
        f"{fact.name} ({', '.join(OPERATORS[type(fact.kind)])}): {fact.says}" for fact in facts.registry.values()
    )


# --- reading a tree -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaf:
    path: str
    fact: Fact
    op: str
    value: Any  # as written
    operand: Any


@dataclass(frozen=True)
class Group:
    path: str
    op: str
    parts: tuple["Node", ...]


Node = Leaf | Group


@dataclass
class _Reader:
    """`zones` are the names that the fact zone can have; `nodes` counts what was read."""

    zones: Collection[str]
    nodes: int = 0
    used: set[str] = field(default_factory=set)

    def node(self, raw: Any, path: str, depth: int) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise BadCondition("", f"has more than {MAX_NODES} parts")
        if depth > MAX_DEPTH:
            raise BadCondition(path, f"is nested more than {MAX_DEPTH} deep")
        if not isinstance(raw, dict):
            raise BadCondition(path, f"must be an object, not {_shown(raw)}")
        groups = [name for name in GROUPS if name in raw]
        if not groups:
            return self._leaf(raw, path)
        if len(raw) > 1:
            others = sorted(_shown(name) for name in raw if name != groups[0])
            raise BadCondition(path, f"has {', '.join(others[:5])} beside {groups[0]}; a group stands alone")
        return self._group(groups[0], raw[groups[0]], path, depth)

    def _group(self, op: str, raw: Any, path: str, depth: int) -> Group:
        here = _at(path, op)
        if op == "not":
            return Group(here, op, (self.node(raw, here, depth + 1),))
        if not isinstance(raw, list) or not raw:
            raise BadCondition(here, "must be a list of one or more conditions")
        return Group(here, op, tuple(self.node(part, f"{here}[{n}]", depth + 1) for n, part in enumerate(raw)))

    def _leaf(self, raw: dict[Any, Any], path: str) -> Leaf:
        if unknown := sorted(_shown(name) for name in raw if name not in LEAF):
            known = ", ".join([*GROUPS, *LEAF])
            raise BadCondition(path, f"does not take {', '.join(unknown[:5])}; there are: {known}")
        if lacking := [name for name in LEAF if name not in raw]:
            raise BadCondition(path, f"lacks {', '.join(lacking)}")
        name, op, value = (raw[part] for part in LEAF)
        fact = facts.registry.get(name) if isinstance(name, str) else None
        if fact is None:
            raise BadCondition(
                _at(path, "fact"), f"unknown fact {_shown(name)}; there are: {', '.join(sorted(facts.registry))}"
            )
        operators = OPERATORS[type(fact.kind)]
        if not isinstance(op, str) or op not in operators:
            raise BadCondition(
                _at(path, "op"), f"{fact.name} does not take {_shown(op)}; there are: {', '.join(operators)}"
            )
        names = fact.kind.values if isinstance(fact.kind, facts.Choice) else self.zones
        try:
            operand = operators[op].operand(value, fact.kind, names)
        except ValueError as error:
            raise BadCondition(_at(path, "value"), str(error)) from None
        if isinstance(fact.kind, facts.Names):
            self.used |= operand
        return Leaf(path, fact, op, value, operand)


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def compiled(raw: Any, zones: Collection[str]) -> Node:
    """The tree that `raw` describes, or BadCondition with the place of its first fault."""
    return _Reader(zones).node(raw, "", 1)


def zones_used(raw: Any, zones: Collection[str]) -> set[str]:
    """The zones that a condition names; none where it can't be read."""
    reader = _Reader(zones)
    with suppress(BadCondition):  # what was read up to the fault counts
        reader.node(raw, "", 1)
    return reader.used


# --- answering ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """Whether a condition holds (None: not known), and what each of its nodes said, outer ones first."""

    result: Truth
    nodes: tuple[dict[str, Any], ...] = ()

    @property
    def missing(self) -> list[str]:
        """The facts that it asked for and that nobody knows."""
        return sorted({node["fact"] for node in self.nodes if "fact" in node and node["result"] is None})


def evaluate(node: Node, read: Read) -> Answer:
    """Every node is answered, also where the outcome is clear before: the trace is for people."""
    told: list[dict[str, Any]] = []
    return Answer(_evaluate(node, read, told), tuple(told))


def _evaluate(node: Node, read: Read, told: list[dict[str, Any]]) -> Truth:
    line: dict[str, Any] = {"path": node.path, "op": node.op}
    told.append(line)
    result: Truth
    if isinstance(node, Leaf):
        found = read(node.fact.name)
        known = found is not MISSING
        line |= {"fact": node.fact.name, "value": node.value, "found": node.fact.kind.told(found) if known else None}
        result = OPERATORS[type(node.fact.kind)][node.op].holds(found, node.operand) if known else None
    else:
        result = combined(node.op, [_evaluate(part, read, told) for part in node.parts])
    line["result"] = result
    return result


def combined(op: str, results: list[Truth]) -> Truth:
    """Kleene: `all` is false as soon as one is, `any` true as soon as one is; otherwise what is not known stays so."""
    if op == "not":
        return None if results[0] is None else not results[0]
    deciding = op == "any"
    if deciding in results:
        return deciding
    return None if None in results else not deciding


def facts_read(read: Read, names: Mapping[str, Fact]) -> dict[str, Any]:
    """What each fact is now, as JSON; null where it is missing."""
    found = {name: read(name) for name in names}
    return {name: None if value is MISSING else names[name].kind.told(value) for name, value in found.items()}
