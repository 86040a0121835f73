"""Filters that live in the address: what is chosen, in words, and the links that add or remove it.

A value that a filter does not know is a 404: dropping it would show more than was asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

from django.http import Http404, QueryDict
from django.utils import timezone

SPANS = {"24h": (timedelta(hours=24), "in the last 24 h"), "7d": (timedelta(days=7), "in the last 7 days")}
# Parts of the address that another filter invalidates: the place in the list, and the row open beside it.
TRANSIENT = ("cursor", "open")
MAX_TEXT = 200


@dataclass(frozen=True)
class Option:
    value: str
    label: str
    chosen: bool


@dataclass(frozen=True)
class Chip:
    """One filter. `text` says what is chosen, "" where nothing is; without options it can only be removed."""

    name: str
    label: str
    text: str
    removed: str
    options: Sequence[Option] = ()
    several: bool = True
    kept: Sequence[tuple[str, str]] = ()


class Asked:
    """The query string of a list, read filter by filter; each reading adds its chip, in the order of the page."""

    def __init__(self, query: QueryDict) -> None:
        self.query = query
        self.chips: list[Chip] = []
        self._kept: dict[frozenset[str], str] = {}
        self.narrowed = False  # whether anything beyond the defaults is asked for
        self._read: set[str] = set()

    @property
    def unknown(self) -> list[str]:
        """The names in the address that no filter has read."""
        return sorted(set(self.query) - self._read - set(TRANSIENT))

    def text(self, name: str) -> str:
        self._read.add(name)
        return self.query.get(name, "").replace("\0", "").strip()[:MAX_TEXT]

    def address(self, without: Iterable[str] = (), **more: str) -> str:
        """The query string with other values; always starts with "?"."""
        gone = frozenset((*TRANSIENT, *without, *more))
        if gone not in self._kept:  # a page of rows asks for the same few again and again
            kept = [(name, value) for name, values in self.query.lists() if name not in gone for value in values]
            self._kept[gone] = urlencode(kept)
        return "?" + "&".join(part for part in (self._kept[gone], urlencode(more)) if part)

    @property
    def here(self) -> str:
        """This very page of the list, with nothing open beside it."""
        query = self.query.copy()
        query.pop("open", None)
        return "?" + query.urlencode()

    def among(
        self,
        name: str,
        label: str,
        choices: Iterable[tuple[str, str]],
        *,
        default: Sequence[str] = (),
        several: bool = True,
        names: bool = False,
    ) -> list[str]:
        """The chosen values of a filter with known ones; `names` are told as they are spelled.

        Where there is a `default`, "any" lifts it.
        """
        self._read.add(name)
        labels = {str(value): str(words) for value, words in choices}
        asked = [value for value in self.query.getlist(name) if value]
        given = [value for value in asked if value != "any"]
        if not labels.keys() >= set(given) or (len(given) > 1 and not several):
            raise Http404
        chosen = given or ([] if asked else list(default))
        self.narrowed |= bool(given) and sorted(given) != sorted(default)
        told = ", ".join(words for value, words in labels.items() if value in chosen)
        query = self.query.copy()
        for gone in (*TRANSIENT, name):
            query.pop(gone, None)
        self.chips.append(
            Chip(
                name,
                label,
                told if names else told.lower(),
                self.address(**{name: "any"}) if default else self.address(without=[name]),
                [Option(value, words, value in chosen) for value, words in labels.items()],
                several,
                [(key, value) for key, values in query.lists() for value in values],
            )
        )
        return chosen

    def note(self, name: str, label: str, text: str, *also: str) -> None:
        """A chip for a filter that comes from a link and can only be removed."""
        self.narrowed = True
        self.chips.append(Chip(name, label, text, self.address(without=[name, *also])))

    def span(self, name: str, label: str) -> datetime | None:
        """The moment since which rows are asked for."""
        chosen = self.among(name, label, ((key, words) for key, (_, words) in SPANS.items()), several=False)
        return timezone.now() - SPANS[chosen[0]][0] if chosen else None

    def uid(self, name: str) -> UUID | None:
        try:
            return UUID(self.text(name)) if self.text(name) else None
        except ValueError:
            raise Http404 from None
