import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opssight.kernel.pagination import BadCursor, paginate
from rbac.models import Unit
from rbac.services import root_unit


def units(kinds: list[bool]) -> None:
    root = root_unit()
    for number, team in enumerate(kinds):
        Unit.objects.create(name=f"unit {number}", kind="team" if team else "system", parent=root)


@given(kinds=st.lists(st.booleans(), max_size=12), limit=st.integers(1, 5))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_walking_forth_and_back_sees_each_row_once_in_order(db, kinds, limit):
    from django.db import transaction

    with transaction.atomic():
        units(kinds)
        for order in (["id"], ["-kind", "id"], ["kind", "-id"]):
            expected = list(Unit.objects.order_by(*order))
            page = paginate(Unit.objects.all(), order, None, limit)
            walked = list(page.rows)
            while page.older:
                page = paginate(Unit.objects.all(), order, page.older, limit)
                walked += page.rows
            assert walked == expected
            back = list(page.rows)
            while page.newer:
                page = paginate(Unit.objects.all(), order, page.newer, limit)
                back = page.rows + back
            assert back == expected
        transaction.set_rollback(True)


def test_rows_that_come_in_shift_no_page(db):
    units([True] * 6)
    page = paginate(Unit.objects.all(), ["-id"], None, 3)
    Unit.objects.create(name="late", parent=root_unit())
    behind = paginate(Unit.objects.all(), ["-id"], page.older, 3)
    assert not {unit.pk for unit in page.rows} & {unit.pk for unit in behind.rows}
    assert [unit.pk for unit in page.rows + behind.rows] == sorted(
        (u.pk for u in page.rows + behind.rows), reverse=True
    )


def test_a_changed_or_foreign_cursor_is_refused(db):
    units([True] * 4)
    cursor = paginate(Unit.objects.all(), ["-id"], None, 2).older
    for bad in (cursor + "x", "x", cursor[:-3], "a:b:c"):
        with pytest.raises(BadCursor):
            paginate(Unit.objects.all(), ["-id"], bad, 2)
    with pytest.raises(BadCursor):
        paginate(Unit.objects.all(), ["name", "id"], cursor, 2)
