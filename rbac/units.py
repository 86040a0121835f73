"""The tree of units and its closure."""

from django.db import transaction

from opssight.kernel.errors import Refusal
from rbac.models import Unit, UnitPath

ROOT_NAME = "Organisation"


class NotMoved(Refusal):
    """Moving a unit would change who reaches all that is in it."""

    status = 409


def root_unit() -> Unit:
    """The unit of the whole organisation; made on first use."""
    return Unit.objects.roots().first() or create_unit(ROOT_NAME, kind=Unit.Kind.COMPANY, parent=None)


def create_unit(name: str, *, parent: Unit | None, kind: str = Unit.Kind.TEAM) -> Unit:
    return save_unit(Unit(name=name, kind=kind, parent=parent))


@transaction.atomic
def save_unit(unit: Unit) -> Unit:
    """Write a new unit with its place in the tree, or a changed one; moving a unit is not offered."""
    new = unit.pk is None
    if not new and Unit.objects.filter(pk=unit.pk).exclude(parent=unit.parent_id).exists():
        raise NotMoved("A unit can't be moved; only its name changes.")
    unit.full_clean()
    unit.save()
    if new:
        _place(unit)
    return unit


def _place(unit: Unit) -> None:
    """Write the closure rows of a new leaf: itself, and everything above its parent."""
    above = UnitPath.objects.filter(descendant=unit.parent_id).values_list("ancestor_id", "depth")
    rows = [UnitPath(ancestor_id=ancestor, descendant=unit, depth=depth + 1) for ancestor, depth in above]
    UnitPath.objects.bulk_create([UnitPath(ancestor=unit, descendant=unit, depth=0), *rows])
