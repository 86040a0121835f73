"""The views above the queue: those that everybody has, and a person's own. A view is a query string, so whoever opens
one sees through it what they may see."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from opssight.console.filters import Asked
from scanning.triage.models import SavedView

BUILT_IN = [
    ("Open", ""), ("Mine", "owner=me"), ("Overdue", "due=over"), ("Exploited", "exploited=yes"),
    ("New this week", "new=7d"),
]  # fmt: skip


@dataclass(frozen=True)
class View:
    name: str
    query: str
    current: bool
    uid: UUID | None = None  # of a person's own, which can be removed


def offered(user: Any, asked: Asked) -> list[View]:
    here = _sorted(asked.address())
    own = SavedView.objects.filter(owner=user).order_by("name", "id").values_list("name", "query", "uid")
    views = [(name, query, None) for name, query in BUILT_IN] + list(own)
    return [View(name, query, _sorted(query) == here, uid) for name, query, uid in views]


def _sorted(query: str) -> list[tuple[str, str]]:
    return sorted(parse_qsl(query.removeprefix("?")))
