"""The fields of one element, asked for by kind; what is missing or of another kind is told by its place."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from scanning.reports.base import UnreadableReport

MAX_NUMBER = 2**31 - 1


def kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a yes/no"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int | Decimal):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def wrong(place: str, value: object, expected: str) -> UnreadableReport:
    return UnreadableReport(f"{place} is {kind(value)}, {expected} was expected.")


class Node:
    """An object of a report, and where it stands."""

    __slots__ = ("_value", "place")

    def __init__(self, value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise wrong(place, value, "an object")
        self._value: dict[str, Any] = value
        self.place = place

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

    def keys(self) -> Iterable[str]:
        return self._value.keys()

    def at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def raw(self, key: str) -> Any:
        return self._value.get(key)

    def _get(self, key: str, default: Any) -> Any:
        value = self._value.get(key)
        if value is None:
            if default is None:
                raise UnreadableReport(f"{self.at(key)} is missing.")
            return default
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self._get(key, default)
        if not isinstance(value, str):
            raise wrong(self.at(key), value, "a text")
        return value

    def named(self, key: str) -> str:
        """A text that something is known by: never blank."""
        value = self.text(key)
        if not value.strip():
            raise UnreadableReport(f"{self.at(key)} is empty.")
        return value

    def number(self, key: str, default: int | None = None) -> int:
        """A whole number from 0 to what a column takes: a line, a column."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise wrong(self.at(key), value, "a whole number")
        if not 0 <= value <= MAX_NUMBER:
            raise UnreadableReport(f"{self.at(key)} is out of range.")
        if value != int(value):
            raise UnreadableReport(f"{self.at(key)} is no whole number.")
        return int(value)

    def yes(self, key: str) -> bool:
        return self._value.get(key) is True

    def score(self, key: str) -> float | None:
        """A CVSS score as number or text; None where there is none."""
        return score(self._value.get(key), self.at(key))

    def node(self, key: str) -> "Node":
        return Node(self._get(key, {}), self.at(key))

    def items(self, key: str) -> list[Any]:
        value = self._get(key, ())
        if value == ():
            return []
        if not isinstance(value, list):
            raise wrong(self.at(key), value, "a list")
        return value

    def nodes(self, key: str) -> list["Node"]:
        return [Node(item, f"{self.at(key)}[{n}]") for n, item in enumerate(self.items(key))]

    def texts(self, key: str) -> list[str]:
        """A list of texts, or one text where a tool writes that."""
        if isinstance(self._value.get(key), str):
            return [self._value[key]]
        for n, item in enumerate(self.items(key)):
            if not isinstance(item, str):
                raise wrong(f"{self.at(key)}[{n}]", item, "a text")
        return self.items(key)


def score(value: object, place: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        found = float(value) if not isinstance(value, bool) else -1.0  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise wrong(place, value, "a score from 0 to 10") from None
    if not 0 <= found <= 10:
        raise UnreadableReport(f"{place} is no score from 0 to 10.")
    return found
