"""Two workers at the same deadlines in the same moment."""

import pytest
from django.db import connection

from audit.models import AuditEntry
from rbac import role_book
from rbac.models import Role
from rbac.roles import BUILTIN
from scanning.deadlines import warn
from scanning.deadlines.models import Warning
from tests.conftest import letters, make_person
from tests.opssight.test_console import make_asset, make_scan
from tests.rbac.test_turns import at_once
from tests.scanning.deadlines.test_warnings import late

pytestmark = [
    pytest.mark.skipif(connection.vendor == "sqlite", reason="the tests' database in memory is one connection"),
    pytest.mark.django_db(transaction=True),
]
HOW_MANY = 1200  # several batches


@pytest.fixture(autouse=True)
def _book(transactional_db: None) -> None:
    if Role.objects.count() < len(BUILTIN):
        role_book.sync_builtin_roles()


def test_each_finding_is_told_of_once():
    make_person("Olga", "officer")
    late(make_scan(make_asset()), HOW_MANY)
    noted = at_once(warn.warn, warn.warn, warn.warn)
    assert sum(noted) == HOW_MANY
    assert AuditEntry.objects.filter(event="findings:overdue").count() == HOW_MANY
    assert Warning.objects.exclude(told_at=None).count() == HOW_MANY
    numbers = [int(letter.subject.split()[1].replace(",", "")) for letter in letters()]
    assert sum(numbers) == HOW_MANY
