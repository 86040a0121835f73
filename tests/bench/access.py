"""Rights at size: our rows and counts beside django-guardian's generic tables, on the same data and database.

1,000 users, 100,000 assets in 100 units, 100,000 grants; the wide user sees 60,000 assets: by us through roles at 60
units, by guardian through 60,000 rows. The units' assets came in turn; and once more with hers as the oldest, so that
the newest page must first walk past 40,000 others: the worst case. Ours includes reading what she holds, which a
request does once. The two are asked in turn, so that a busy machine slows both; prints milliseconds (median), the
median ratio of the pairs, and the ratio of the best rounds, which others on the machine disturbed least.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DJANGO_SETTINGS_MODULE"] = "opssight.settings.test"
os.environ.setdefault("OPSSIGHT_LOG_LEVEL", "WARNING")

import django

django.setup()

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.test.utils import setup_databases, teardown_databases
from guardian import shortcuts
from guardian.models import GroupObjectPermission, UserObjectPermission
from history import keep

from accounts.models import User
from opssight.kernel.access import decide
from opssight.kernel.actor import _request
from rbac.models import Role, RoleAssignment, Unit, UnitPath
from rbac.units import create_unit, root_unit
from scanning.models import Asset, AssetUserGrant
from tests.rows import untold

UNITS, PER_UNIT, USERS, WIDE = 100, 1_000, 1_000, 60
ROUNDS = 21
PERMISSION = "assets:read"


@contextmanager
def database(*, in_turn: bool) -> Iterator[tuple[User, User, User]]:
    """A fresh one, with the wide user by roles, the wide user by guardian's rows, and one with 40 single grants."""
    ContentType.objects.clear_cache()
    old = setup_databases(verbosity=0, interactive=False)
    try:
        with untold():
            users = _built(in_turn)
        yield users
    finally:
        teardown_databases(old, verbosity=0)


def _built(in_turn: bool) -> tuple[User, User, User]:
    root = root_unit()
    units = [create_unit(f"unit {n:03}", parent=root) for n in range(UNITS)]
    places = [(n, i) for i in range(PER_UNIT) for n in range(UNITS)]
    Asset.objects.bulk_create(
        (
            Asset(name=f"asset {n:03}-{i:04}", location=f"/srv/{n}/{i}", unit=units[n])
            for n, i in (places if in_turn else sorted(places))
        ),
        batch_size=2_000,
    )
    users = User.objects.bulk_create(User(email=f"user{n}@example.org") for n in range(USERS))
    role = Role.objects.get(key="developer")
    everybody = Role.objects.get(key="employee")
    RoleAssignment.objects.bulk_create(
        [
            *(RoleAssignment(user=user, role=everybody, unit=root, reason="bench") for user in users),
            *(RoleAssignment(user=users[0], role=role, unit=unit, reason="bench") for unit in units[:WIDE]),
        ]
    )
    kind = ContentType.objects.get_for_model(Asset)
    read = Permission.objects.get(codename=PERMISSION, content_type=kind)
    seen = list(Asset.objects.filter(unit__in=units[:WIDE]).values_list("pk", flat=True))
    UserObjectPermission.objects.bulk_create(
        (UserObjectPermission(user=users[1], permission=read, content_type=kind, object_pk=str(pk)) for pk in seen),
        batch_size=5_000,
    )
    rest = list(Asset.objects.values_list("pk", flat=True))[: USERS * 40]
    AssetUserGrant.objects.bulk_create(
        (
            AssetUserGrant(user=users[2 + n % (USERS - 2)], permission=read, content_object_id=pk, reason="bench")
            for n, pk in enumerate(rest)
        ),
        batch_size=5_000,
    )
    with connection.cursor() as cursor:
        # As autovacuum leaves a table that has stood for a minute: the first waits for it, where it is at work there,
        # and can't clean what it still saw.
        for _ in range(2):
            cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")
    return users[0], users[1], users[2]


def span(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    ask()
    return (time.perf_counter() - began) * 1000


def timed(ask: Callable[[], object]) -> float:
    ask()
    return statistics.median(span(ask) for _ in range(ROUNDS))


def paired(mine: Callable[[], object], floor: Callable[[], object]) -> tuple[float, float, float, float]:
    """Median of each, of the ratio within a round, and the ratio of the best."""
    rounds = [(span(mine), span(floor)) for _ in range(ROUNDS + 1)][1:]
    ours, theirs = zip(*rounds, strict=True)
    ratio = statistics.median(b / a for a, b in rounds)
    return statistics.median(ours), statistics.median(theirs), ratio, min(theirs) / min(ours)


# Assets have direct tables, which guardian would find; the floor is its generic ones.
shortcuts.get_user_obj_perms_model = lambda model: UserObjectPermission
shortcuts.get_group_obj_perms_model = lambda model: GroupObjectPermission


def lists(ours: User, theirs: User, cases: dict[str, Callable[[QuerySet[Asset]], object]]) -> None:
    def by_us() -> QuerySet[Asset]:
        return Asset.objects.permitted(ours, PERMISSION)

    def by_guardian() -> QuerySet[Asset]:
        return shortcuts.get_objects_for_user(theirs, f"scanning.{PERMISSION}", Asset, accept_global_perms=False)

    assert by_us().count() == by_guardian().count() == WIDE * PER_UNIT
    for name, ask in cases.items():
        mine, floor, ratio, best = paired(lambda a=ask: a(by_us()), lambda a=ask: a(by_guardian()))
        figures = {"ours_ms": mine, "guardian_ms": floor, "ratio": ratio, "best": best}
        keep("access", case=name, database=connection.vendor, **figures)
        print(f"  {name:<27} ours {mine:7.1f}  guardian {floor:7.1f}  ratio {ratio:5.1f}  of the best {best:5.1f}")


def newest(rows: QuerySet[Asset]) -> list[Asset]:
    return list(rows.order_by("-id")[:50])


def main() -> None:
    print(f"{connection.vendor}: ms, median of {ROUNDS}; wanted on PostgreSQL: ratio 5 or more, page 20 ms at most")
    with database(in_turn=True) as (ours, theirs, single):
        cases: dict[str, Callable[[QuerySet[Asset]], object]] = {
            "count of 60,000": lambda rows: rows.count(),
            "page of 50, newest": newest,
            "page of 50, by name": lambda rows: list(rows.order_by("name")[:50]),
        }
        lists(ours, theirs, cases)
        few = timed(lambda: newest(Asset.objects.permitted(single, PERMISSION)))
        print(f"  {'page, 40 single grants':<27} ours {few:7.1f}")
        asset = Asset.objects.select_related("unit").latest("id")
        single_asset = AssetUserGrant.objects.filter(user=single).first().content_object
        for name, user, obj in (("by role", ours, asset), ("by single grant", single, single_asset)):
            cold = timed(lambda u=user, o=obj: decide(u, PERMISSION, o))
            token = _request.set(HttpRequest())  # within a request, what a user holds is read once
            warm = timed(lambda u=user, o=obj: decide(u, PERMISSION, o))
            _request.reset(token)
            print(f"  decide(), {name:<17} first {cold:6.2f}  warm {warm:6.2f}  (wanted: warm 1.5 at most)")
        assert Unit.objects.count() < UnitPath.objects.count()
    with database(in_turn=False) as (ours, theirs, _):
        lists(ours, theirs, {"newest, past 40,000 others": newest})


if __name__ == "__main__":
    main()
