"""Finds writes that ORM signals don't see: bulk calls outside `bulk_write()`, and SQL that writes to such tables."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from auditlog.registry import auditlog
from django.apps import apps
from django.conf import settings

from audit.followed import followed

BULK = {"bulk_create", "bulk_update", "_raw_delete", "bulk_get_or_create", "abulk_create", "abulk_update", "aupdate"}
WRITING = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?|MERGE\s+INTO|COPY)\s+\"?(\w*)\"?", re.I
)

# Calls that need no entries: the model is not followed, or the fields are ignored ones. By file and line's text.
EXCUSED = {
    ("accounts/devices/services.py", "update(reported_ms="): "ignored fields; events tell what changed",
    ("accounts/sso/groups.py", "bulk_create(Membership("): "not followed: sso:groups_changed names them",
    ("accounts/sso/remote.py", "update("): "ignored fields: what a provider said, and when",
    ("accounts/logins/notices.py", 'update(notice_hash="")'): "not followed: events tell of sessions",
    ("accounts/logins/services.py", "update(last_seen_at="): "the same",
    ("accounts/logins/services.py", "update(ended_at="): "the same",
    ("accounts/models.py", "update(**values)"): "the method itself",
    ("accounts/tokens/families.py", "update(refresh_jti="): "not followed: events tell of refresh tokens",
    ("accounts/tokens/services.py", "update(last_used_at=now)"): "ignored field",
    ("audit/services.py", "bulk_create(entries)"): "the trail itself",
    ("audit/services.py", "bulk_create("): "the trail itself",
    ("audit/rollups/services.py", "bulk_create("): "not followed: counted from the entries",
    ("audit/sealing/anchors.py", "bulk_create("): "not followed: follow from checkpoints",
    ("audit/sealing/anchors.py", "update("): "the same",
    ("audit/sealing/sealer.py", "bulk_create("): "not followed: follow from the entries",
    ("compliance/services.py", "bulk_create(rows, batch_size=500)"): "not followed: under the digest of their set",
    ("opssight/kernel/appendonly.py", "bulk_create(objs"): "the method itself",
    ("opssight/kernel/jobs.py", "update("): "ignored fields of jobs; their events tell",
    ("opssight/kernel/rest/idempotency.py", "update(created_at=now)"): "not followed",
    ("rbac/role_book.py", "bulk_create("): "not followed: follow from roles, and Django's own rows",
    ("rbac/units.py", "bulk_create([UnitPath("): "not followed: follows from units",
    ("scanning/counts/services.py", "_raw_delete(using)"): "not followed: counted from the findings",
    ("scanning/imports/migrations/0003_name_undone.py", 'update(state="undone")'): "ignored field",
    ("scanning/schedules/services.py", "update(next_at="): "ignored fields: when it is due",
    ("scanning/imports/services.py", "bulk_create("): "not followed: what an import changed are events",
    ("scanning/triage/bulk.py", "bulk_create(changes"): "not followed: what a bulk action changed are events",
    ("scanning/triage/bulk.py", "bulk_create([Tag("): "not followed: findings:tagged",
    ("scanning/triage/ownership.py", "bulk_create("): "not followed: findings:tagged",
    ("scanning/triage/undo.py", "update(undone_at="): "ignored field: findings:restored tells",
    ("scanning/advisories/services.py", "bulk_create("): "not followed: follow from an operator's file",
    ("scanning/advisories/services.py", "bulk_update(changed, RATED)"): "ignored fields",
    ("scanning/advisories/services.py", "update(is_rated=True"): "not followed",
    ("scanning/advisories/services.py", "update(read_at=None"): "not followed",
    ("scanning/deadlines/warn.py", "bulk_create("): "not followed: findings:overdue tells of breaches",
    ("scanning/deadlines/warn.py", "update(told_at=at)"): "the same",
    ("scanning/findings.py", "update(last_seen_at="): "ignored fields",
    ("scanning/findings.py", "bulk_update(said, "): "ignored fields",
    ("scanning/findings.py", "bulk_create(rows"): "not followed: an index of the findings' aliases",
    ("scanning/imports/services.py", "bulk_update(rows, "): "ignored fields",
}


def bulk_calls(source: str) -> Iterator[tuple[int, str]]:
    """(line, text from the method's name on) of bulk calls that stand in no `with bulk_write()`."""
    lines, tree = source.splitlines(), ast.parse(source)
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and any("bulk_write(" in ast.unparse(item) for item in node.items):
            inside.update(ast.walk(node))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node in inside:
            continue
        name = node.func.attr
        is_querysets = name == "update" and node.keywords and not node.args  # dictionaries and sets take a positional
        if name in BULK or is_querysets:
            line = node.func.end_lineno or node.lineno
            yield line, lines[line - 1][(node.func.end_col_offset or 0) - len(name) :]


def raw_writes(source: str, tables: set[str]) -> Iterator[tuple[int, str]]:
    """(line, table) of SQL in the text that writes to one of `tables`, or to one that is put in at run time."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "RUNTIME" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        for table in WRITING.findall(text):
            if table in tables or table.startswith("RUNTIME"):
                yield node.lineno, table


def files() -> Iterator[tuple[str, str]]:
    for folder in ("accounts", "audit", "compliance", "opssight", "rbac", "scanning"):
        for path in sorted(Path(settings.BASE_DIR, folder).rglob("*.py")):
            yield str(path.relative_to(settings.BASE_DIR)), path.read_text()


def test_bulk_writes_say_what_they_record():
    found, used = [], set()
    for name, source in files():
        for line, text in bulk_calls(source):
            excuse = next((key for key in EXCUSED if key[0] == name and text.startswith(key[1])), None)
            used.add(excuse)
            if excuse is None:
                found.append(f"{name}:{line}: {text}")
    assert found == [], "put them into kernel.events.bulk_write(), or excuse them"
    assert EXCUSED.keys() - used == set(), "excuses for calls that are gone"


def test_no_sql_of_ours_writes_to_followed_tables():
    tables = {model._meta.db_table for model in auditlog.get_models()}
    excused = {"audit/guard.py", "audit/sealing/sealer.py", "audit/watch.py", "audit/writing.py"}  # names of their own
    found = [f"{name}:{line} {table}" for name, text in files() for line, table in raw_writes(text, tables)]
    assert [place for place in found if place.partition(":")[0] not in excused] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("User.objects.filter(pk=1).update(name='x')", 1),
        ("rows.update(**values)", 1),
        ("User._base_manager.bulk_create([x])", 1),
        ("rows.filter()._raw_delete(using)", 1),
        ("with bulk_write():\n    rows.update(name='x')", 0),
        ("with transaction.atomic(), bulk_write():\n    if x:\n        rows.bulk_update(y, ['name'])", 0),
        ("seen.update(more)", 0),
    ],
)
def test_the_lint_finds_bulk_calls(source, found):
    assert len(list(bulk_calls(source))) == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('c.execute("UPDATE accounts_user SET name = %s")', 1),
        ('c.execute("delete from \\"accounts_user\\"")', 1),
        ('c.execute(f"UPDATE {table} SET x = 1")', 1),
        ('c.execute("INSERT INTO other VALUES (1)")', 0),
        ('c.execute("SELECT * FROM accounts_user FOR UPDATE")', 0),
    ],
)
def test_the_lint_finds_sql(source, found):
    assert len(list(raw_writes(source, {"accounts_user"}))) == found


def test_no_followed_model_has_a_proxy_that_is_not_followed():
    """Signals are sent for the class that is saved: a proxy would be a way round."""
    proxies = [model for model in apps.get_models() if model._meta.proxy and followed(model._meta.concrete_model)]
    assert [model for model in proxies if not followed(model)] == []
