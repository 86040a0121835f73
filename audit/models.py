"""The trail. An entry is inserted once and never changed; triggers (`audit.guard`) refuse anything else.

What names a person stands in a side row. The entry's MAC covers that row's salted digest, so erasing the side row
removes the person and leaves every proof intact.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any, ClassVar, NoReturn, Self

from auditlog.models import AbstractLogEntry, LogEntryManager
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import models, router
from django.db.models.functions import Coalesce
from django.db.models.lookups import In
from django.utils import timezone

from audit import writing
from audit.canonical import canonical, instant
from opssight.kernel import actor as actors
from opssight.kernel.appendonly import AppendOnly, AppendOnlyQuerySet
from opssight.kernel.ids import new_uid

SCHEMA = 2
MAX_ADDRESS = 45  # an IPv6 address in its longest spelling

# What MAC and leaf cover: the name in the canonical content, and the column. Other columns follow from these or are set
# by the database. A column that is added later comes with a new schema, so that older entries still verify.
_FIRST = {
    "v": "schema_v",
    "uid": "uid",
    "timestamp": "timestamp",
    "actor": "actor_id",
    "actor_kind": "actor_kind",
    "event": "event",
    "action": "action",
    "resource_type": "resource_type",
    "resource_id": "resource_id",
    "object_pk": "object_pk",
    "changes": "changes",
    "data": "additional_data",
    "success": "success",
    "error": "error_message",
    "request_id": "request_id",
    "personal": "personal_digest",
    "salt": "salt",
}
COVERED: dict[int, dict[str, str]] = {
    1: _FIRST,
    2: {
        **_FIRST,
        "impersonator": "impersonator_id",
        "session": "session",
        "tags": "compliance_tags",
        "tags_version": "tags_version",
    },
}


_COLUMNS = {schema: (tuple(names), itemgetter(*names.values())) for schema, names in COVERED.items()}


def covered(row: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical content of an entry, from the values of its columns as the ORM reads them."""
    names, columns_of = _COLUMNS[row["schema_v"]]
    content = dict(zip(names, columns_of(row), strict=True))
    content["uid"], content["timestamp"] = str(content["uid"]), instant(content["timestamp"])
    return content


class Tagged(models.Func):
    """Whether the list of tags holds one: exactly that one, where LIKE would take SOC2 for a part of SOC2-TYPE1."""

    output_field = models.BooleanField()

    def __init__(self, framework: str) -> None:
        super().__init__("compliance_tags")
        self.framework = framework

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        sql, params = self.source_expressions[0].as_sql(compiler, connection)
        return f"INSTR({sql}, %s) > 0", (*params, json.dumps(self.framework))  # with its quotes, as in the stored text

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        sql, params = self.source_expressions[0].as_sql(compiler, connection)
        return f"jsonb_exists({sql}, %s)", (*params, self.framework)


class AuditEntryQuerySet(AppendOnlyQuerySet["AuditEntry"]):
    def since(self, at: datetime) -> Self:
        return self.filter(timestamp__gte=at)

    def by(self, user: Any) -> Self:
        return self.filter(actor=user)

    def evidence_for(self, framework: str) -> Self:
        return self.filter(Tagged(framework))

    def named(self, events: Iterable[str]) -> Self:
        """Of these events; looked for along the index of another condition, and not by that of the names."""
        return self.filter(In(Coalesce(models.F("event"), models.Value("")), sorted(events)))

    def about(self, obj: models.Model) -> Self:
        return self.filter(resource_type=obj._meta.label_lower, resource_id=str(getattr(obj, "uid", obj.pk)))


class AuditEntryManager(LogEntryManager.from_queryset(AuditEntryQuerySet)):  # type: ignore[misc]
    """An entry made by django-auditlog carries the id that links carry, as all do: one object, one history."""

    def log_create(self, instance: models.Model, *args: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("resource_id", str(getattr(instance, "uid", instance.pk)))
        return super().log_create(instance, *args, **kwargs)


class AuditEntry(AbstractLogEntry):
    """One entry, as django-auditlog's entry model. An ORM change carries `action` and `changes` ({field: [old, new]});
    a named event carries `event` and `additional_data`; both share the request id."""

    Action = AbstractLogEntry.Action

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    schema_v = models.PositiveSmallIntegerField(default=SCHEMA)
    timestamp = models.DateTimeField(default=timezone.now)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        null=True,
        related_name="+",
    )
    actor_kind = models.CharField(max_length=12, default="system")
    impersonator = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        null=True,
        related_name="+",
    )
    event = models.CharField(max_length=64, blank=True)
    action = models.PositiveSmallIntegerField(choices=Action.choices, null=True)
    content_type = models.ForeignKey(
        ContentType, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, null=True, related_name="+"
    )
    object_pk = models.CharField(max_length=255, blank=True)
    object_id = models.BigIntegerField(null=True, blank=True)
    resource_type = models.CharField(max_length=64, blank=True)
    resource_id = models.CharField(max_length=64, blank=True)
    changes = models.JSONField(null=True)
    additional_data = models.JSONField(null=True)
    success = models.BooleanField(default=True)
    error_message = models.CharField(max_length=500, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    session = models.CharField(max_length=16, blank=True)
    compliance_tags = models.JSONField(default=list)
    tags_version = models.CharField(max_length=8, blank=True)
    personal_digest = models.CharField(max_length=64)
    salt = models.CharField(max_length=32)
    mac = models.CharField(max_length=64)

    objects = AuditEntryManager()

    # Columns of the abstract model that hold personal strings or are not used here. The names stay writable, since
    # django-auditlog passes them.
    changes_text: ClassVar[str] = ""
    remote_addr: ClassVar[None] = None
    remote_port: ClassVar[None] = None
    actor_email: ClassVar[None] = None

    class Meta(AbstractLogEntry.Meta):
        abstract = False
        default_permissions = ()
        ordering = ["-timestamp", "-id"]
        verbose_name = "trail entry"
        verbose_name_plural = "trail entries"
        # Each ends with the order of the lists, so that a page is read off an index however deep it lies. One more
        # costs every writer: what has none here is looked for within bounds (`audit.search`).
        indexes = [
            models.Index(fields=["timestamp", "id"], name="entry_by_time"),
            models.Index(fields=["actor", "timestamp", "id"], name="entry_by_actor"),
            models.Index(fields=["event", "timestamp", "id"], name="entry_by_event"),
            models.Index(fields=["resource_type", "resource_id", "timestamp", "id"], name="entry_of_resource"),
            models.Index(fields=["request_id", "timestamp", "id"], name="entry_of_request"),
            models.Index(fields=["timestamp", "id"], name="entry_failed", condition=models.Q(success=False)),
            models.Index(fields=["timestamp", "id"], name="entry_deleted", condition=models.Q(action=2)),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.what}"

    @property
    def what(self) -> str:
        """The name of what happened: the event, or model and action."""
        return self.event or f"{self.resource_type.partition('.')[2]}:{self.get_action_display()}"

    @property
    def object_repr(self) -> str:
        return str(self.person.get("object", ""))

    @object_repr.setter
    def object_repr(self, value: str) -> None:
        self._object_label = value

    @property
    def serialized_data(self) -> None:
        return None

    @serialized_data.setter
    def serialized_data(self, value: Any) -> None:
        pass

    @property
    def cid(self) -> str:
        return self.request_id

    @cid.setter
    def cid(self, value: str | None) -> None:
        pass

    # --- reading ---

    @property
    def person(self) -> dict[str, Any]:
        """The personal part: actor, impersonator, address, user_agent, object, values, data. Empty once erased."""
        side = getattr(self, "personal", None)
        return side.content() if side else {}

    @property
    def actor_label(self) -> str:
        return str(self.person.get("actor") or self.actor_kind)

    @property
    def old_and_new(self) -> dict[str, Any]:
        return {**(self.changes or {}), **self.person.get("values", {})}

    @property
    def details(self) -> dict[str, Any]:
        person = self.person
        asked = {writing.FILTER: person[writing.FILTER]} if writing.FILTER in person else {}
        return {**(self.additional_data or {}), **person.get("data", {}), **asked}

    def covered(self) -> dict[str, Any]:
        """What MAC and leaf cover, by name."""
        return covered(self.__dict__)

    def expected_mac(self) -> str:
        return writing.mac(canonical(self.covered()))

    # --- writing, once ---

    def _composed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        kind = ContentType.objects.get_for_id(self.content_type_id) if self.content_type_id else None
        actor = actors.current()
        return writing.compose(
            action=self.action,
            event=self.event,
            resource_type=self.resource_type or (f"{kind.app_label}.{kind.model}" if kind else ""),
            resource_id=str(self.resource_id),
            object_pk=str(self.object_pk),
            object_id=self.object_id,
            content_type_id=self.content_type_id,
            label=getattr(self, "_object_label", ""),
            changes=self.changes,
            data=self.additional_data,
            success=self.success,
            error=self.error_message,
            actor=actor,
            uid=self.uid,
            timestamp=self.timestamp,
            actor_id=actor.user.pk if actor.user is not None else self.actor_id,
        )

    def prepare(self) -> "AuditPersonal":
        """Complete a new entry that is to be written in bulk; returns its side row, which is to follow it."""
        entry, side = self._composed()
        self.__dict__.update(entry)
        return AuditPersonal(**side)

    def save(self, *args: Any, using: str | None = None, **kwargs: Any) -> None:
        """For who makes an entry by hand: what was set on it is completed and written with its side row."""
        if not self._state.adding:
            raise AppendOnly(AuditEntry, "updated")
        entry, side = self._composed()
        using = using or router.db_for_write(AuditEntry)
        self.pk = writing.insert(entry, side, using)
        self.__dict__.update(entry)
        self._state.adding, self._state.db = False, using

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly(AuditEntry, "deleted")


class AuditPersonal(models.Model):
    """What names people in one entry. Erasure deletes this row, and nothing else may touch it."""

    entry = models.OneToOneField(AuditEntry, on_delete=models.PROTECT, primary_key=True, related_name="personal")
    address = models.CharField(max_length=MAX_ADDRESS, null=True)
    data = models.JSONField()
    salt = models.CharField(max_length=32)

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(
                fields=["address", "-entry"], name="personal_by_address", condition=models.Q(address__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"personal part of #{self.entry_id}"

    def content(self) -> dict[str, Any]:
        """What the entry's `personal_digest` covers. The first entries have the address among the data."""
        return self.data if "address" in self.data else {**self.data, "address": self.address}
