"""Reading the lists, whole or not at all, and bringing findings up to date with them."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from scanning.advisories import reading
from scanning.advisories.models import EpssScore, Feed, KnownExploited
from scanning.advisories.rating import rate
from scanning.advisories.reading import BadFeed
from scanning.detail import RATED
from scanning.models import Finding, FindingAlias

log = logging.getLogger("opssight.scanning")
BATCH = 500
LOADED = 5_000  # rows a statement
# A list grows. One that has lost half of itself was caught while it was written.
LEAST = 0.5


@dataclass(frozen=True)
class Kind:
    setting: str
    model: type[models.Model]
    read: Callable[[Path], Iterator[Any]]


KINDS = {
    Feed.Kind.EPSS: Kind("EPSS_FILE", EpssScore, reading.epss),
    Feed.Kind.KEV: Kind("KEV_FILE", KnownExploited, reading.kev),
}


@dataclass(frozen=True)
class Outcome:
    """`state` is read, unchanged, off (no file is set, so nothing is known) or failed; then the list before it stands,
    which `feed` tells of, and `error` says what is wrong."""

    kind: str
    state: str
    file: str
    feed: Feed
    error: str = ""


def enrich() -> list[Outcome]:
    """Read the lists that have changed, and bring every finding up to date where one has.

    The findings come after the lists, a batch at a time: who writes meanwhile waits for one batch and not for all. What
    was left undone by a killed process is done by the next.
    """
    outcomes = [_refresh(kind, getattr(settings, KINDS[kind].setting)) for kind in Feed.Kind]
    if due := list(Feed.objects.filter(is_rated=False)):
        rate_all()
        for feed in due:  # unless another one was read meanwhile
            Feed.objects.filter(pk=feed.pk, read_at=feed.read_at).update(is_rated=True)
    for outcome in outcomes:
        if outcome.error:
            log.error("%s", outcome.error)
    return outcomes


def _refresh(kind: Feed.Kind, file: str) -> Outcome:
    Feed.objects.get_or_create(kind=kind)
    try:
        with transaction.atomic():
            feed = Feed.objects.select_for_update().get(kind=kind)
            state = _read(feed, Path(file)) if file else _forget(feed)
    except BadFeed as error:
        return Outcome(kind, "failed", file, Feed.objects.get(kind=kind), str(error))
    return Outcome(kind, state, file, feed)


def _read(feed: Feed, path: Path) -> str:
    try:
        stat = path.stat()
    except OSError as error:
        raise BadFeed(f"{path}: it can't be read ({error.strerror}).") from None
    if feed.read_at and (feed.size, feed.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
        return "unchanged"
    kind, before = KINDS[Feed.Kind(feed.kind)], feed.rows
    feed.dated = datetime.fromtimestamp(stat.st_mtime, UTC)
    rows = kind.model._default_manager.all()
    rows.delete()
    feed.rows = _load(feed, kind.model, kind.read(path))
    if rows.count() != feed.rows:
        raise BadFeed(f"{path}: a CVE stands in it twice.")
    if feed.rows < before * LEAST or not feed.rows:
        raise BadFeed(
            f"{path}: it has {feed.rows:,} rows, and the one before {before:,}. Is it copied whole? If it is meant "
            f"so: unset OPSSIGHT_{kind.setting}, run enrich_findings, set it again."
        )
    feed.size, feed.mtime_ns, feed.read_at = stat.st_size, stat.st_mtime_ns, timezone.now()
    feed.is_rated = False
    feed.save()
    return "read"


def _load(feed: Feed, model: type[models.Model], told: Iterator[Any]) -> int:
    count = 0
    while batch := list(islice(told, LOADED)):
        if isinstance(batch[0], datetime):
            feed.dated = batch.pop(0)
        model._default_manager.bulk_create(batch, ignore_conflicts=True)
        count += len(batch)
    return count


def _forget(feed: Feed) -> str:
    """Without a file nothing is known, also of what an earlier one said."""
    if feed.read_at:
        KINDS[Feed.Kind(feed.kind)].model._default_manager.all().delete()
        Feed.objects.filter(pk=feed.pk).update(read_at=None, dated=None, rows=0, size=0, mtime_ns=0, is_rated=False)
        feed.refresh_from_db()
    return "off"


def rate_all() -> None:
    """Look up every finding that has a name, and write those of which the lists now say something else."""
    named = Finding.objects.filter(Exists(FindingAlias.objects.filter(finding=OuterRef("pk"))))
    rows = named.only("id", "aliases", *RATED).order_by("pk")
    last: int | None = 0
    while last is not None:
        last = _rate_some(rows.filter(pk__gt=last))


@transaction.atomic
def _rate_some(rows: QuerySet[Finding]) -> int | None:
    """One batch of `rows`; the key of its last, None where there was none."""
    batch = list(rows.select_for_update(of=("self",))[:BATCH])
    before = [_rating(finding) for finding in batch]
    rate(batch)
    changed = [finding for finding, was in zip(batch, before, strict=True) if _rating(finding) != was]
    if changed:
        Finding.objects.bulk_update(changed, RATED)
    return batch[-1].pk if batch else None


def _rating(finding: Finding) -> tuple[Any, ...]:
    return tuple(getattr(finding, name) for name in RATED)


def standing() -> dict[str, int]:
    """How many findings are unresolved, and what the lists say of them."""
    unresolved = Finding.objects.unresolved()
    return {
        "unresolved": unresolved.count(),
        "scored": unresolved.filter(epss__isnull=False).count(),
        "known_exploited": unresolved.filter(is_known_exploited=True).count(),
        "not_known": unresolved.filter(is_known_exploited=None).count(),
    }
