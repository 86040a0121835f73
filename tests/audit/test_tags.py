"""What an entry is evidence for: each kind is mapped or said to be none, and no two frameworks are the same."""

import pytest
from auditlog.registry import auditlog
from django.db import connection

from audit import guard
from audit.models import AuditEntry
from audit.tags import EVIDENCE, FRAMEWORKS, NONE, READ, VERSION, mapping, tags_of
from opssight.kernel import events
from rbac.services import create_unit, root_unit

Action = AuditEntry.Action
MAPPED = {key for evidence in EVIDENCE for key in evidence.of}


def test_every_event_and_every_followed_model_is_mapped_or_said_to_be_none():
    followed = {model._meta.label_lower for model in auditlog.get_models()}
    readings = {READ, *(f"{model}:{READ}" for model in followed)}
    assert {*events.registry, *followed} - MAPPED - NONE.keys() == set()
    assert MAPPED & NONE.keys() == set()
    assert (MAPPED | NONE.keys()) - {*events.registry, *followed} - readings == set()


def test_each_evidence_serves_known_frameworks_by_clauses_and_says_what_it_shows():
    for evidence in EVIDENCE:
        assert evidence.shows
        assert evidence.of
        assert evidence.serves.keys() <= FRAMEWORKS.keys()
        assert all(clauses and all(clauses) for clauses in evidence.serves.values())


def test_no_two_frameworks_have_the_same_evidence():
    by_framework = {
        framework: frozenset(key for key, serves in mapping().items() if framework in serves)
        for framework in FRAMEWORKS
    }
    assert all(by_framework.values())
    assert len(set(by_framework.values())) == len(FRAMEWORKS)


@pytest.mark.parametrize(
    ("event", "model", "action", "tags"),
    [
        ("sessions:started", "accounts.user", None, ("ISO27001", "PCI_DSS", "SOC2")),
        ("", "accounts.user", Action.UPDATE, ("GDPR", "ISO27001", "PCI_DSS", "SOC2")),
        ("", "accounts.user", Action.ACCESS, ("GDPR", "ISO27001", "SOC2")),
        ("", "scanning.asset", Action.CREATE, ("ISO27001", "PCI_DSS")),
        ("", "scanning.asset", Action.ACCESS, ("ISO27001", "SOC2")),
        ("findings:raised", "scanning.finding", Action.CREATE, ("GDPR", "ISO27001", "PCI_DSS", "SOC2")),
        ("", "compliance.control", Action.UPDATE, ()),
        ("", "warehouse.shelf", Action.DELETE, ()),
        ("made:up", "", None, ()),
    ],
)
def test_tags_follow_from_event_and_action(event, model, action, tags):
    assert tags_of(event, model, action) == tags


def test_an_entry_keeps_its_tags_and_their_version_under_its_mac(db):
    create_unit("Payments", parent=root_unit())
    entry = AuditEntry.objects.filter(resource_type="rbac.unit").latest("id")
    assert (entry.compliance_tags, entry.tags_version) == (["ISO27001", "SOC2"], VERSION)
    assert entry.expected_mac() == entry.mac
    guard.remove(connection)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE audit_auditentry SET compliance_tags = '[\"GDPR\"]' WHERE id = %s", [entry.pk])
    guard.install(connection)
    entry = AuditEntry.objects.get(pk=entry.pk)
    assert entry.expected_mac() != entry.mac


def test_entries_are_found_by_exactly_one_tag(db):
    for tags in (["SOC2"], ["SOC2-TYPE1"], ["XSOC2"], ["PCIXDSS"], [], ["GDPR", "PCI_DSS"]):
        entry = AuditEntry(event="tried:out")
        side = entry.prepare()
        entry.compliance_tags = tags
        AuditEntry.objects.bulk_create([entry])
        side.entry = entry
        side.save()

    def found(tag: str) -> list[list[str]]:
        return [entry.compliance_tags for entry in AuditEntry.objects.filter(event="tried:out").evidence_for(tag)]

    assert found("SOC2") == [["SOC2"]]
    assert found("PCI_DSS") == [["GDPR", "PCI_DSS"]]
    assert found("%") == found("") == found("SOC") == found("_SOC2") == found('","') == []
