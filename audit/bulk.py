"""Writes that ORM signals don't see are refused on followed models, unless they say what they record.

Django's own QuerySet is wrapped, since every way leads through it: managers, related managers, `_base_manager`,
querysets made by hand. What it does for itself (saving, deleting) goes below these four and stays as it is.
"""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import wraps
from typing import Any

from django.db import models
from django.db.models.deletion import Collector

from audit.followed import Followed, followed
from opssight.kernel import events


class BulkRefused(Exception):
    """A bulk write of a followed model outside `kernel.events.bulk_write()`."""

    def __init__(self, entry: Followed, method: str) -> None:
        super().__init__(
            f"{entry.model.__name__}: {method}() leaves no entries in the trail. Save the objects one by one, or write "
            f"them inside kernel.events.bulk_write() and tell of each by bulk_record()."
        )


def _only_ignored(entry: Followed, names: Iterable[str]) -> bool:
    """Leases, counters and the like have no entries whatever way they change."""
    return entry.names(names) <= entry.ignored


_deleting: ContextVar[bool] = ContextVar("deleting", default=False)


def _emptied_by_deletion(entry: Followed, names: Iterable[str]) -> bool:
    """Django empties the SET_NULL fields of what it deletes by update(); `capture` has told of each row before."""
    fields = [entry.fields.get(name) for name in entry.names(names)]
    return _deleting.get() and all(
        isinstance(field, models.ForeignKey) and followed(field.related_model) for field in fields
    )


def _refuse(method: str, fields: Callable[..., Iterable[str] | None], count: Callable[..., int]) -> None:
    original = getattr(models.QuerySet, method)

    @wraps(original)
    def guarded(self: models.QuerySet[Any], *args: Any, **kwargs: Any) -> Any:
        entry = followed(self.model)
        named = fields(*args, **kwargs) if entry else None
        if entry is None or (named is not None and (_only_ignored(entry, named) or _emptied_by_deletion(entry, named))):
            return original(self, *args, **kwargs)
        book = events.ledger()
        if book is None:
            raise BulkRefused(entry, method)
        # What one of the four does by way of another is counted once.
        before = book.written[self.model]
        done = original(self, *args, **kwargs)
        book.written[self.model] = before + count(done)
        return done

    setattr(models.QuerySet, method, guarded)


def _mark_deletions() -> None:
    original = Collector.delete

    @wraps(original)
    def delete(self: Collector) -> Any:
        token = _deleting.set(True)
        try:
            return original(self)
        finally:
            _deleting.reset(token)

    Collector.delete = delete  # type: ignore[method-assign]


def install() -> None:
    _mark_deletions()
    _refuse("update", lambda **values: values, int)
    _refuse("bulk_update", lambda objs, fields, *args, **kwargs: fields, int)
    _refuse("bulk_create", lambda *args, **kwargs: None, len)
    _refuse("_raw_delete", lambda *args, **kwargs: None, lambda deleted: deleted or 0)
