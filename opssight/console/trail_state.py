"""How the trail as a whole stands: sealed, verified, anchored. Each can be missing, late or wrong by itself."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from audit.sealing.anchors import configured
from audit.sealing.models import Checkpoint, Delivery, Pending, Verification
from audit.sealing.verification import verifier_digest
from opssight.console.counting import CAP

# A verification runs every day, a checkpoint comes every hour, entries wait for seconds.
VERIFIED_FOR, SEALED_FOR = timedelta(hours=26), timedelta(hours=2)


@dataclass(frozen=True)
class Reading:
    """One of the three. `state` is one of clean, never, failed, stale, error (could not be found out), off."""

    state: str
    words: str
    at: datetime | None = None
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Banner:
    verified: Reading
    anchored: Reading
    waiting: int  # at most one more than CAP
    checkpoint: Checkpoint | None

    @property
    def state(self) -> str:
        """Green takes all three: what nobody outside keeps a copy of can be rolled back unseen."""
        states = (self.verified.state, self.anchored.state)
        order = ("failed", "error", "stale", "never", "off")
        return next((state for state in order if state in states), "clean")


def banner() -> dict[str, Any]:
    now = timezone.now()
    newest = Checkpoint.objects.newest()
    waiting = Pending.objects.all()[: CAP + 1].count()
    return {
        "banner": Banner(_verified(newest, now), _anchored(newest, now), waiting, newest),
        "late": _late(newest, now),
        "verifier_digest": verifier_digest(),
    }


def _late(newest: Checkpoint | None, now: datetime) -> bool:
    """Whether the sealer seems to stand still: a checkpoint comes every hour even where nothing happens."""
    return newest is not None and now - newest.at > SEALED_FOR


def _verified(newest: Checkpoint | None, now: datetime) -> Reading:
    runs = {run.scope: run for run in Verification.objects.all()}
    full, new = runs.get(Verification.Scope.FULL), runs.get(Verification.Scope.NEW)
    # What is new was found in order says nothing of what an earlier look at the whole found wrong.
    last = [run for run in (full, new if new and (full is None or new.at > full.at) else None) if run]
    if not last:
        return Reading("never", "Not verified yet")
    if bad := next((run for run in last if run.verdict == "tampered"), None):
        return Reading("failed", "Verification failed", bad.at, _told(bad.problems))
    if broken := next((run for run in last if run.verdict != "ok"), None):
        return Reading(
            "error", "The last verification did not get through", broken.at, [broken.error or "no reason given"]
        )
    best = max(last, key=lambda run: run.verified_size)
    words = f"Verified up to #{best.verified_size - 1:,}" if best.verified_size else "Verified: the log is empty"
    stale = best.verified_at is None or now - best.verified_at > VERIFIED_FOR
    return Reading("stale" if stale else "clean", words, best.verified_at)


def _told(problems: Iterable[dict[str, Any]]) -> list[str]:
    return [
        " ".join(
            str(part)
            for part in (
                problem.get("kind", "").replace("_", " "),
                f"at #{problem['position']:,}:" if isinstance(problem.get("position"), int) else "",
                problem.get("detail", ""),
            )
            if part
        )
        for problem in problems
    ][:3]


def _anchored(newest: Checkpoint | None, now: datetime) -> Reading:
    if not configured():
        return Reading("off", "not anchored")
    taken = Delivery.objects.exclude(at=None).select_related("checkpoint").order_by("-checkpoint").first()
    failing = Delivery.objects.waiting().exclude(error="").order_by("-checkpoint").first()
    if taken is None or taken.at is None:
        if failing:
            return Reading("failed", "no anchor has taken a checkpoint", None, [f"{failing.anchor}: {failing.error}"])
        return Reading("never", "not anchored yet")
    behind = newest is not None and taken.checkpoint.at < newest.at - SEALED_FOR
    errors = [f"{failing.anchor}: {failing.error}"] if failing else []
    words = (
        f"anchored up to #{taken.checkpoint.size - 1:,}"
        if taken.checkpoint.size < (newest.size if newest else 0)
        else "anchored"
    )
    return Reading("failed" if failing else "stale" if behind else "clean", words, taken.at, errors)
