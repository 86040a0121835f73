"""What was tried and did not come about: entries that outlive the rollback, written where the exception has arrived.

Told is what was wrong and where, never what was sent: a rejected value may be somebody's password in the wrong field.
"""

import logging
import sys
from collections.abc import Iterable
from typing import Any

from django.core.signals import got_request_exception
from django.db import DatabaseError, InterfaceError, OperationalError, models
from django.dispatch import receiver
from django.http import HttpRequest

from opssight.kernel.errors import Refusal
from opssight.kernel.events import register

CHANGE_REFUSED = register("changes:refused", severity="low")
REQUEST_FAILED = register("requests:failed", severity="medium")

log = logging.getLogger("opssight.refusals")
SAFE = ("GET", "HEAD", "OPTIONS")
# The rest is told elsewhere (401, 403), or no attempt at a change (405, 415), or too many of them (429).
TOLD = frozenset({400, 404, 409, 412, 413, 422, 428})
ACTIONS = {"create": "CREATE", "destroy": "DELETE"}


def record_refused_change(
    user: Any,
    status: int,
    error: Exception | None,
    fields: Iterable[Any] = (),
    *,
    action: str = "UPDATE",
    model: type[models.Model] | None = None,
    target: models.Model | None = None,
) -> None:
    """A change that somebody signed in asked for and that was refused with `status`; `fields` are those not valid."""
    if status not in TOLD or not getattr(user, "is_authenticated", False):
        return
    names = sorted({str(name)[:80] for name in fields})[:20]
    reason = error.detail if isinstance(error, Refusal) else f"not valid: {', '.join(names)}" if names else "not done"
    CHANGE_REFUSED.emit(
        target=target, about=model, action=action, success=False, error=reason, status=status, fields=names
    )


def record_api_refusal(request: Any, view: Any, status: int, error: Exception, fields: Iterable[Any]) -> None:
    """The same for a view set: its model, and the object that the address names."""
    if request.method in SAFE or status not in TOLD:
        return
    model = getattr(getattr(view, "queryset", None), "model", None)
    uid, target = getattr(view, "kwargs", {}).get("uid"), None
    if model is not None and uid:
        target = model._default_manager.filter(uid=uid).first()
    action = ACTIONS.get(getattr(view, "action", None) or "", "UPDATE")
    record_refused_change(request.user, status, error, fields, action=action, model=model, target=target)


@receiver(got_request_exception)
def record_crash(request: HttpRequest, **kwargs: Any) -> None:
    """A 500: which route and what kind of error; the log has the rest. The database may be what has failed."""
    error, match = sys.exc_info()[1], request.resolver_match
    if isinstance(error, OperationalError | InterfaceError):
        return
    try:
        REQUEST_FAILED.emit(
            success=False, error=type(error).__name__, route=match.route if match else "", method=str(request.method)
        )
    except DatabaseError:
        log.exception("the trail can't take the entry of a failed request")
