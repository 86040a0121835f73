"""Writing entries: of changes, of events, in bulk, and by hand."""

import ipaddress
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ObjectDoesNotExist
from django.db import DEFAULT_DB_ALIAS, models, router, transaction

from audit import receipts, writing
from audit.models import AuditEntry, AuditPersonal
from opssight.kernel import actor as actors
from opssight.kernel.events import EventType, Occurrence

BATCH = 500
Action = AuditEntry.Action
ACTIONS = {"CREATE": Action.CREATE, "READ": Action.ACCESS, "UPDATE": Action.UPDATE, "DELETE": Action.DELETE}


def key_of(obj: models.Model) -> str:
    """The id that links carry: the uid, or the row's number."""
    return str(getattr(obj, "uid", obj.pk))


def label_of(instance: models.Model) -> str:
    try:
        return str(instance)
    except ObjectDoesNotExist:  # its __str__ names an object that is gone
        return ""


def _about(target: models.Model, label: str | None = None) -> dict[str, Any]:
    """The columns that say which object an entry is about."""
    pk = target.pk
    return {
        "content_type_id": ContentType.objects.get_for_model(target).pk,
        "object_pk": str(pk),
        "object_id": pk if isinstance(pk, int) else None,
        "label": label_of(target) if label is None else label,
        "resource_type": target._meta.concrete_model._meta.label_lower,  # type: ignore[union-attr]
        "resource_id": key_of(target),
    }


def append_change(
    action: int, target: models.Model, changes: dict[str, Any], using: str, *, label: str | None = None
) -> None:
    """The entry of one row's change, or of a look at it: {field: [old, new]} as Python values."""
    writing.insert(*writing.compose(action=action, changes=changes, **_about(target, label)), using)


def append(occurrence: Occurrence) -> None:
    """Write the entry of an event, in the transaction of what happened."""
    about: dict[str, Any] = {}
    if occurrence.target is not None:
        about = _about(occurrence.target)
    elif occurrence.about is not None:
        about = {"resource_type": occurrence.about._meta.label_lower}
    composed = writing.compose(
        event=occurrence.event.name,
        action=ACTIONS[occurrence.action] if occurrence.action else None,
        success=occurrence.success,
        error=occurrence.error,
        data=occurrence.data,
        actor=occurrence.actor,
        **about,
    )
    writing.insert(*composed, router.db_for_write(AuditEntry))


def append_bulk(
    event: EventType | None,
    changes: Iterable[tuple[models.Model, dict[str, Any]]],
    *,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """One entry per object written in bulk, in batches; an object all of whose old values are null was created."""
    actor, pairs = actors.current(), iter(changes)
    name = event.name if event else ""
    with transaction.atomic(using=using, savepoint=False):
        while batch := list(islice(pairs, BATCH)):
            composed = [
                writing.compose(event=name, action=_action_of(fields), changes=fields, actor=actor, **_about(target))
                for target, fields in batch
            ]
            entries = [AuditEntry(**columns) for columns, _ in composed]
            AuditEntry.objects.using(using).bulk_create(entries)
            AuditPersonal.objects.using(using).bulk_create(
                AuditPersonal(entry_id=entry.pk, **side) for entry, (_, side) in zip(entries, composed, strict=True)
            )
            receipts.promise(((str(entry.uid), entry.mac) for entry in entries), using=using)


def _action_of(fields: dict[str, Any]) -> int:
    return Action.CREATE if all(old is None for old, _ in fields.values()) else Action.UPDATE


def log_action(
    user_id: int | str | None,
    action: str,
    resource_type: str,
    resource_id: str,
    old_values: dict[str, Any] | None = None,
    new_values: dict[str, Any] | None = None,
    request_info: dict[str, Any] | None = None,
    *,
    success: bool = True,
    error_message: str = "",
    event: str = "",
) -> AuditEntry:
    """Write one entry by hand, for what neither a row nor an event tells.

    `action` is CREATE, READ, UPDATE, DELETE. Without `user_id` whoever acts now is named; `request_info` has ip and
    user_agent where they are not those of the moment. ValueError for an unknown action, account or address.
    """
    if action not in ACTIONS:
        raise ValueError(f"{action!r} is not an action; there are {', '.join(ACTIONS)}")
    old, new, info = old_values or {}, new_values or {}, request_info or {}
    actor = actors.current()
    if user_id is not None:
        user = get_user_model()._default_manager.filter(pk=user_id).first()
        if user is None:
            raise ValueError(f"there is no account {user_id}")
        actor = replace(actor, kind=actors.kind_of(user), user=user, label=str(user.email))
    if "ip" in info:
        actor = replace(actor, address=str(ipaddress.ip_address(info["ip"])))
    if "user_agent" in info:
        actor = replace(actor, user_agent=str(info["user_agent"])[: actors.MAX_USER_AGENT])
    columns, side = writing.compose(
        action=ACTIONS[action],
        event=event,
        resource_type=resource_type,
        resource_id=resource_id,
        changes={name: [old.get(name), new.get(name)] for name in {**old, **new} if old.get(name) != new.get(name)},
        success=success,
        error=error_message,
        actor=actor,
    )
    return AuditEntry.objects.get(pk=writing.insert(columns, side, router.db_for_write(AuditEntry)))
