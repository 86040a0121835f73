"""What findings come to, per asset: how many are in each state, and how many came and went in each week.

Kept by triggers in the transaction that writes the findings (see `triggers`), so that no way of writing them is
forgotten. Rows of different lanes add up.
"""

from typing import Any

from django.db import models

from opssight.kernel.access import GuardedQuerySet
from scanning.models import Asset, Severity, Status

LANE = "PostgreSQL: the transaction that wrote it, until it is folded into lane 0; so no writer waits for another."


class CountQuerySet(GuardedQuerySet[Any]):
    pass


def _of_asset() -> Any:
    # Without a constraint, whose check would wait for an import, which holds its asset.
    return models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False)


class StateCount(models.Model):
    """So many findings of an asset are of this severity and status."""

    pk = models.CompositePrimaryKey("asset_id", "severity", "status", "lane")
    asset = _of_asset()
    severity = models.SmallIntegerField(choices=Severity)
    status = models.CharField(max_length=16, choices=Status)
    lane = models.BigIntegerField(default=0, help_text=LANE)
    n = models.IntegerField()

    objects = CountQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.asset_id}: {self.n} {self.severity} {self.status}"


class WeekCount(models.Model):
    """What happened to the unresolved findings of a severity in the week from Monday `week` (UTC).

    The number of unresolved ones grew by opened - fixed + other.
    """

    pk = models.CompositePrimaryKey("asset_id", "week", "severity", "lane")
    asset = _of_asset()
    week = models.DateField()
    severity = models.SmallIntegerField(choices=Severity)
    lane = models.BigIntegerField(default=0, help_text=LANE)
    opened = models.IntegerField(default=0, help_text="new, or opened again")
    fixed = models.IntegerField(default=0)
    other = models.IntegerField(default=0, help_text="rated anew (+ and -), or ended otherwise (-)")

    objects = CountQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.asset_id} {self.week} {self.severity}: +{self.opened} -{self.fixed}"
