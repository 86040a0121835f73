"""Many people on the same findings in the same moment."""

import io
import json
from typing import Any

import pytest
from django.db import connection

from audit.models import AuditEntry
from rbac import role_book
from rbac.models import Role
from rbac.roles import BUILTIN
from scanning.imports.services import import_report
from scanning.inventory import asset_at
from scanning.models import Finding
from scanning.triage.models import BulkAction, Decision, Tag
from tests.conftest import make_person
from tests.rbac.test_turns import at_once, sent, statuses
from tests.scanning.triage.conftest import WHY, scanned

pytestmark = [
    pytest.mark.skipif(connection.vendor == "sqlite", reason="the tests' database in memory is one connection"),
    pytest.mark.django_db(transaction=True),
]
HOW_MANY = 1200  # several batches


@pytest.fixture(autouse=True)
def _book(transactional_db: None) -> None:
    if Role.objects.count() < len(BUILTIN):
        role_book.sync_builtin_roles()


@pytest.fixture
def clients(client_for: Any) -> list[Any]:
    return [client_for(make_person(name, "officer")) for name in ("Ana", "Bob")]


@pytest.fixture
def asset(tmp_path: Any) -> Any:
    asset = asset_at(tmp_path)
    scanned(asset, *range(1, HOW_MANY + 1))
    return asset


def asked(**more: Any) -> dict[str, Any]:
    return {"filter": {"status": "open"}, "count": HOW_MANY, **more}


def test_of_two_decisions_about_the_same_each_finding_gets_one(clients, asset):
    words = [asked(kind="decide", status=status, reason=WHY) for status in ("false_positive", "fixed")]
    answers = at_once(*(sent(c, "post", "/api/v1/bulk-actions", w) for c, w in zip(clients, words, strict=True)))
    assert set(statuses(answers)) <= {201, 409}, [getattr(a, "content", a) for a in answers]
    assert sum(action.changed for action in BulkAction.objects.all()) == HOW_MANY
    assert Decision.objects.count() == AuditEntry.objects.filter(event="findings:triaged").count() == HOW_MANY
    assert not Finding.objects.filter(status="open").exists()


def test_two_undos_give_back_once(clients, asset):
    done = sent(clients[0], "post", "/api/v1/bulk-actions", asked(kind="tag", tag="x"))().json()
    undo = sent(clients[0], "post", f"/api/v1/bulk-actions/{done['uid']}/undo")
    assert sorted(statuses(at_once(undo, undo))) == [200, 409]
    assert not Tag.objects.exists()


def test_an_import_and_a_bulk_action_take_turns_and_a_decision_waits_for_neither_for_good(clients, asset):
    """The report names them in another order than their keys, and leaves out half."""
    places = [
        {"rule": "R", "title": "t", "severity": "high", "path": f"{n % 7}.py", "line": n, "id": str(n)}
        for n in range(HOW_MANY)
    ]
    report = json.dumps({"tool": "own", "findings": places}).encode()
    import_report(asset, io.BytesIO(report))
    half = json.dumps({"tool": "own", "findings": places[::-2]}).encode()
    words = asked(kind="tag", tag="x") | {"count": 2 * HOW_MANY}
    decide = {"finding": str(Finding.objects.latest("pk").uid), "status": "triaged", "reason": WHY}
    answers = at_once(
        lambda: import_report(asset, io.BytesIO(half)),
        sent(clients[0], "post", "/api/v1/bulk-actions", words),
        sent(clients[1], "post", "/api/v1/decisions", decide),
    )
    assert not [answer for answer in answers if isinstance(answer, Exception)], answers
    assert answers[1].status_code in (201, 409)
    assert answers[2].status_code in (201, 409), answers[2].content
    assert Finding.objects.filter(scanner="own", status="fixed").count() >= HOW_MANY // 2 - 1


def test_a_scan_and_a_bulk_action_take_turns(clients, asset):
    """The scan no longer finds them. Whoever comes first, no decision is lost: what is decided is not closed by it."""
    decide = sent(clients[0], "post", "/api/v1/bulk-actions", asked(kind="decide", status="false_positive", reason=WHY))
    answer, scan = at_once(decide, lambda: scanned(asset))
    assert not isinstance(scan, Exception), scan
    assert answer.status_code in (201, 409), answer.content
    for decision in Decision.objects.select_related("finding"):
        assert decision.finding.status == "false_positive"
    assert not Finding.objects.filter(status="open").exists()
