"""From the ORM to the trail: the receivers that django-auditlog's registry connects for each followed model.

Its own are replaced for what they get wrong as evidence (docs/decisions.md): the old value comes from the row itself,
locked as the UPDATE will lock it; the entry is written after the statement, in one transaction with it; an expression
is told by what it came to; many-to-many changes carry keys and stand with the model that has the field. Nothing can
veto or switch off an entry.
"""

from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any

from auditlog.registry import auditlog
from auditlog.signals import accessed
from django.core.exceptions import ValidationError
from django.db import connections, models, router, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

from audit import services
from audit.followed import Followed, followed
from audit.services import label_of

BEFORE = "_trail_before"  # on the instance, between the two signals of a change
Row = dict[str, Any]


# --- rows as they are in the database -----------------------------------------------------------------------------


class _Reader:
    """Reads the followed fields of one row and locks it as an UPDATE does, so that nobody changes it in between.

    The query is compiled once for each model and database: compiling it costs four times what running it does.
    """

    def __init__(self, entry: Followed, alias: str) -> None:
        names = [field.attname for field in entry.fields.values()]
        rows: models.QuerySet[Any] = models.QuerySet(entry.model).using(alias).filter(pk=0).values_list(*names)
        query = rows.select_for_update(no_key=True).query
        compiler = query.get_compiler(alias)
        self.names, self.compiler = list(entry.fields), compiler
        self.sql, _ = compiler.as_sql()
        self.converters = compiler.get_converters([expression for expression, *_ in compiler.select])
        self.pk: Any = entry.model._meta.pk

    def __call__(self, pk: Any, alias: str) -> Row | None:
        connection = connections[alias]
        with connection.cursor() as cursor:
            cursor.execute(self.sql, [self.pk.get_db_prep_value(pk, connection)])
            row = cursor.fetchone()
        if row is None:
            return None
        if self.converters:
            row = next(iter(self.compiler.apply_converters([row], self.converters)))
        return dict(zip(self.names, row, strict=True))


_readers: dict[tuple[str, str, str], _Reader] = {}


def read(entry: Followed, pk: Any, alias: str) -> Row | None:
    """The row's followed values, by field; None where there is no such row. Needs a transaction."""
    place = (entry.label, alias, connections[alias].vendor)
    if place not in _readers:
        _readers[place] = _Reader(entry, alias)
    return _readers[place](pk, alias)


# --- saving -------------------------------------------------------------------------------------------------------


def _before_save(sender: type[models.Model], instance: models.Model, using: str, **kwargs: Any) -> None:
    entry = followed(sender)
    assert entry is not None
    given = kwargs.get("update_fields")
    if instance.pk is None or (given is not None and entry.fields.keys().isdisjoint(entry.names(given))):
        return
    instance.__dict__[BEFORE] = read(entry, instance.pk, using)


def _after_save(sender: type[models.Model], instance: models.Model, created: bool, using: str, **kwargs: Any) -> None:
    entry = followed(sender)
    assert entry is not None
    before = instance.__dict__.pop(BEFORE, None)
    if before is None and not created:  # none of the followed fields was among update_fields
        return
    given = kwargs.get("update_fields")
    names = entry.names(given) & entry.fields.keys() if given is not None else entry.fields.keys()
    changes, after = _changes(entry, instance, {} if created else before or {}, names, using)
    if created or changes:
        action = services.Action.CREATE if created else services.Action.UPDATE
        label = label_of(sender._base_manager.using(using).get(pk=instance.pk)) if after else None
        services.append_change(action, instance, changes, using, label=label)


def _changes(
    entry: Followed, instance: models.Model, before: Row, names: Iterable[str], using: str
) -> tuple[dict[str, Any], Row | None]:
    """{field: [old, new]} of what differs, as Python values. The instance may hold "5" for 5, or an expression: then
    the row is read again, and comes second."""
    changes: dict[str, Any] = {}
    values, after = instance.__dict__, None
    for name in names:
        field = entry.fields[name]
        if field.attname not in values:  # deferred, so not written
            continue
        old, new = before.get(name), values[field.attname]
        if hasattr(new, "resolve_expression"):
            after = after or read(entry, instance.pk, using) or {}
            new = after.get(name)
        elif old != new:
            new = _as_python(field, new)
        if old != new:
            changes[name] = [old, new]
    return changes, after


def _as_python(field: "models.Field[Any, Any]", value: Any) -> Any:
    try:
        return field.to_python(value)
    except (ValidationError, TypeError, ValueError):
        return value


def _in_one_transaction(model: type[models.Model]) -> None:
    """Row and entry are written together or not at all, also where the caller opened no transaction."""
    save_base: Callable[..., None] = model.save_base

    @wraps(save_base)
    def save(self: models.Model, *args: Any, **kwargs: Any) -> None:
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        kwargs["using"] = using
        connection = connections[using]
        if not connection.in_atomic_block:
            with transaction.atomic(using=using):
                return save_base(self, *args, **kwargs)
        try:
            save_base(self, *args, **kwargs)
        except BaseException:  # as a block of `atomic` without a savepoint, for a quarter of its price
            connection.needs_rollback = True
            raise

    model.save_base = save  # type: ignore[method-assign]


# --- deleting -----------------------------------------------------------------------------------------------------


def _before_delete(sender: type[models.Model], instance: models.Model, using: str, **kwargs: Any) -> None:
    """Both signals are sent inside the transaction of the deletion; the label may need rows that go with it."""
    entry = followed(sender)
    assert entry is not None
    instance.__dict__[BEFORE] = (read(entry, instance.pk, using), label_of(instance))
    for model, field in _emptied_with(sender):
        rows: models.QuerySet[Any] = models.QuerySet(model).using(using).filter(**{field: instance.pk})
        emptied = ((row, {field: [instance.pk, None]}) for row in rows.iterator())
        services.append_bulk(None, emptied, using=using)


def _after_delete(sender: type[models.Model], instance: models.Model, using: str, **kwargs: Any) -> None:
    row, label = instance.__dict__.pop(BEFORE, (None, ""))
    changes = {name: [value, None] for name, value in (row or {}).items() if value is not None}
    services.append_change(services.Action.DELETE, instance, changes, using, label=label)


def _emptied_with(model: type[models.Model]) -> list[tuple[type[models.Model], str]]:
    """Followed fields that a deletion sets to null (SET_NULL), by an UPDATE that sends no signal."""
    found = []
    for relation in model._meta.get_fields(include_hidden=True):  # those with related_name="+" as well
        if not isinstance(relation, models.ManyToOneRel) or relation.on_delete is not models.SET_NULL:
            continue
        entry = followed(relation.related_model)
        if entry and relation.field.name in entry.fields:
            found.append((entry.model, relation.field.name))
    return found


# --- many-to-many -------------------------------------------------------------------------------------------------


def _m2m_changed(
    entry: Followed,
    name: str,
    *,
    action: str,
    instance: models.Model,
    reverse: bool,
    model: type[models.Model],
    pk_set: set[Any] | None,
    using: str,
    **kwargs: Any,
) -> None:
    """One entry for each object whose field it is, from whichever side it was changed."""
    if action == "pre_clear":
        pk_set = _linked(entry, name, instance, reverse, using)
    elif action not in ("post_add", "post_remove"):
        return
    if not pk_set:
        return
    linked: models.QuerySet[Any] = models.QuerySet(model).using(using).filter(pk__in=pk_set)
    others = list(linked.order_by("pk"))
    for owner, targets in [(other, [instance]) for other in others] if reverse else [(instance, others)]:
        change = {
            "type": "m2m",
            "operation": "add" if action == "post_add" else "delete",
            "keys": [services.key_of(target) for target in targets],
            "objects": [label_of(target) for target in targets],
        }
        services.append_change(services.Action.UPDATE, owner, {name: change}, using)


def _linked(entry: Followed, name: str, instance: models.Model, reverse: bool, using: str) -> set[Any]:
    """The keys that a clear() is about to take away; it names none itself."""
    field: Any = entry.model._meta.get_field(name)
    through = field.remote_field.through
    mine, theirs = field.m2m_field_name(), field.m2m_reverse_field_name()
    if reverse:
        mine, theirs = theirs, mine
    rows: models.QuerySet[Any] = models.QuerySet(through).using(using).filter(**{mine: instance.pk})
    return set(rows.values_list(theirs, flat=True))


# --- reading ------------------------------------------------------------------------------------------------------


def _read(sender: type[models.Model], instance: models.Model, **kwargs: Any) -> None:
    """django-auditlog's signal for a look at one object; views of ours note theirs in kernel.reads."""
    services.append_change(services.Action.ACCESS, instance, {}, router.db_for_write(sender))


# --- connecting ---------------------------------------------------------------------------------------------------

auditlog._signals = {
    pre_save: _before_save,
    post_save: _after_save,
    pre_delete: _before_delete,
    post_delete: _after_delete,
    accessed: _read,
}


def connect(entry: Followed) -> None:
    """What the registry does not connect by itself: fields of many objects, and the transaction round a save."""
    connect_links(entry)
    _in_one_transaction(entry.model)


def connect_links(entry: Followed) -> None:
    """Kept in the registry's books, so that `auditlog.unregister` disconnects them as well."""
    for name in entry.m2m:
        receiver = partial(_m2m_changed, entry, name)
        through = entry.model._meta.get_field(name).remote_field.through  # type: ignore[union-attr]
        auditlog._m2m_signals[entry.model][name] = receiver
        m2m_changed.connect(
            receiver, sender=through, weak=False, dispatch_uid=auditlog._m2m_dispatch_uid(m2m_changed, through)
        )
