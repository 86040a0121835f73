"""What a control's test is: code that looks at live data and answers with the rows it looked at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import models

from compliance.models import State


@dataclass(frozen=True)
class Row:
    """One record of the population. Equal rows are stored once, so `detail` names moments, never "5 hours ago"."""

    resource_type: str
    uid: UUID
    failed: bool
    detail: str
    label: str = ""

    @classmethod
    def of(cls, record: models.Model, *, failed: bool, detail: str, label: str = "") -> "Row":
        """Without a label the record's name is not kept with the row: the choice for what names a person."""
        uid: UUID = record.uid  # type: ignore[attr-defined]
        return cls(record._meta.label_lower, uid, failed, detail, label)


@dataclass(frozen=True)
class Evaluation:
    """The population with a verdict each, and a sentence that says what to do. Without rows nothing is known."""

    rows: Sequence[Row]
    reason: str

    @property
    def failed(self) -> int:
        return sum(row.failed for row in self.rows)

    @property
    def state(self) -> State:
        if not self.rows:
            return State.UNKNOWN
        return State.FAIL if self.failed else State.PASS


def unknown(reason: str) -> Evaluation:
    return Evaluation((), reason)


ControlTest = Callable[[dict[str, Any], datetime], Evaluation]
registry: dict[str, ControlTest] = {}


def control_test(key: str) -> Callable[[ControlTest], ControlTest]:
    """Register the test of the control `key`: a function of its parameters and a moment. Twice is a ValueError."""

    def wrap(test: ControlTest) -> ControlTest:
        if key in registry:
            raise ValueError(f"control {key} has two tests")
        registry[key] = test
        return test

    return wrap


# --- words --------------------------------------------------------------------------------------------------------

TOLD_NAMES = 5


def some(names: Sequence[str]) -> str:
    """The first few of `names`, and how many more there are."""
    more = len(names) - TOLD_NAMES
    return ", ".join(names[:TOLD_NAMES]) + (f" and {more} more" if more > 0 else "")


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
