"""Every encrypted column there is: whether it can be read, and bringing it under the newest key."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from django.apps import apps
from django.conf import settings
from django.db import models, transaction

from opssight.kernel.crypto import Encrypted, Undecryptable
from opssight.kernel.events import Ledger, bulk_record, bulk_write, ledger, register

FIELD_KEYS_ROTATED = register("field-keys:rotated", severity="medium", security=True)
BATCH = 200


@dataclass
class Report:
    """What was found in one column. `unreadable` names the rows that no key reads, by their uid."""

    column: str
    rows: int = 0
    renewed: int = 0
    unreadable: list[str] = field(default_factory=list)


def columns() -> list[tuple[type[models.Model], str]]:
    """Each model with the names of its encrypted attributes; a test lists them."""
    return [
        (model, name)
        for model in apps.get_models()
        if not model._meta.proxy
        for name in sorted({n for cls in model.__mro__ for n, v in vars(cls).items() if isinstance(v, Encrypted)})
    ]


def newest() -> str:
    return f"v1.{next(iter(settings.FIELD_KEYS))}."


def check() -> list[Report]:
    """Decrypt everything, change nothing."""
    return [_walk(model, name, only_old=False, renew=False) for model, name in columns()]


def rotate() -> Iterator[Report]:
    """Encrypt anew what an older key encrypted. Each batch commits for itself, and what is done is passed over: stopped
    at any moment, the next run goes on."""
    for model, name in columns():
        report = _walk(model, name, only_old=True, renew=True)
        if report.renewed:
            FIELD_KEYS_ROTATED.emit(column=report.column, rows=report.renewed, key=newest().split(".")[1])
        yield report


def _walk(model: type[models.Model], name: str, *, only_old: bool, renew: bool) -> Report:
    column = getattr(model, name).column
    report, last = Report(f"{model._meta.db_table}.{column}"), 0
    rows = model._base_manager.exclude(**{column: ""}).exclude(**{column: None}).order_by("pk")
    if only_old:
        rows = rows.exclude(**{f"{column}__startswith": newest()})
    while batch := list(rows.filter(pk__gt=last)[:BATCH]):
        with transaction.atomic():
            for row in batch:
                _one(row, name, column, report, renew=renew)
        last = batch[-1].pk
    return report


def _one(row: Any, name: str, column: str, report: Report, *, renew: bool) -> None:
    report.rows += 1
    before = getattr(row, column)
    try:
        value = getattr(row, name)
    except Undecryptable:
        report.unreadable.append(str(row.uid))
        return
    if renew:
        setattr(row, name, value)
        # Only where nobody wrote another value meanwhile; that one is under the newest key already.
        same = type(row)._base_manager.filter(pk=row.pk, **{column: before})
        with bulk_write():
            renewed = models.QuerySet.update(same, **{column: getattr(row, column)})
            report.renewed += renewed
            if cast(Ledger, ledger()).written:  # the trail follows this model, and hears of each row
                bulk_record(FIELD_KEYS_ROTATED, [(row, {column: [before, getattr(row, column)]})])
