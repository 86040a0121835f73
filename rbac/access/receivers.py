"""The trace of a refusal by policy, written by whoever records the refusal: after the rollback, so it stays."""

from typing import Any

from django.dispatch import receiver

from opssight.kernel.access import ACCESS_DENIED, STEP_UP_ASKED
from opssight.kernel.events import Occurrence, happened
from rbac.access.gate import verdict_given
from rbac.access.models import AccessTrace


@receiver(happened)
def refused(occurrence: Occurrence, **kwargs: Any) -> None:
    actor, data = occurrence.actor, occurrence.data
    if occurrence.event not in (ACCESS_DENIED, STEP_UP_ASKED) or "policy" not in data or actor.user is None:
        return
    verdict = verdict_given(actor.user, data["permission"])
    if verdict is not None and verdict.outcome:
        AccessTrace.objects.create(
            user_id=actor.user.pk,
            permission=data["permission"],
            outcome=verdict.outcome,
            policy=verdict.policy,
            steps=verdict.steps(),
            request_id=actor.request_id,
            address=actor.address,
        )
