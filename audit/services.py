"""Writing entries: from events, and in bulk."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Model

from audit import receipts
from audit.models import AuditEntry, AuditPersonal
from opssight.kernel import actor as actors
from opssight.kernel.events import EventType, Occurrence

BATCH = 500


def _about(target: Model | None) -> dict[str, Any]:
    """The columns that say which object an entry is about."""
    if target is None:
        return {}
    pk = target.pk
    return {
        "content_type": ContentType.objects.get_for_model(target),
        "object_pk": str(pk),
        "object_id": pk if isinstance(pk, int) else None,
        "object_repr": str(target),
        "resource_id": str(getattr(target, "uid", pk)),
    }


def append(occurrence: Occurrence) -> AuditEntry:
    """Write the entry of an event, in the transaction of what happened."""
    entry = AuditEntry(
        event=occurrence.event.name,
        success=occurrence.success,
        error_message=occurrence.error,
        additional_data=occurrence.data,
        **_about(occurrence.target),
    )
    entry.save()
    return entry


def append_bulk(event: EventType, changes: Iterable[tuple[Model, dict[str, Any]]]) -> None:
    """One entry per object written in bulk, in batches; an object all of whose old values are null was created."""
    actor, pairs = actors.current(), iter(changes)
    with transaction.atomic():
        while batch := list(islice(pairs, BATCH)):
            entries, sides = [], []
            for target, fields in batch:
                created = all(old is None for old, _ in fields.values())
                entry = AuditEntry(
                    event=event.name,
                    action=AuditEntry.Action.CREATE if created else AuditEntry.Action.UPDATE,
                    changes={name: [_text(old), _text(new)] for name, (old, new) in fields.items()},
                    **_about(target),
                )
                sides.append(entry.prepare(actor))
                entries.append(entry)
            AuditEntry.objects.bulk_create(entries)
            for entry, side in zip(entries, sides, strict=True):
                side.entry = entry
            AuditPersonal.objects.bulk_create(sides)
            receipts.promise((str(entry.uid), entry.mac) for entry in entries)


def _text(value: Any) -> str:
    """Values as django-auditlog writes them: text, and None spelled out."""
    return str(value)
