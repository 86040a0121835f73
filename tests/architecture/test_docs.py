"""Docs that can't lie: what the code names stands in docs, and what docs name exists."""

import ast
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands

from opssight.kernel import access, events

ROOT = Path(settings.BASE_DIR)
DOCS = {path.name: path.read_text() for path in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]}
TEXT = "\n".join(DOCS.values())
CODE = "\n".join(
    path.read_text()
    for folder in ("opssight", "accounts", "rbac", "audit", "scanning", "compliance")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "test.py"  # the suite's own settings
)
AUDIENCES = ["officer", "engineer", "auditor", "employee", "operator", "contributor"]
# Django's own commands that the docs send people to, and the supervisor, which is no Django command.
FOREIGN_COMMANDS = {"migrate", "up"}

OF_THE_CLIENT = {"OPSSIGHT_TOKEN", "OPSSIGHT_TOKEN_FILE"}  # of the pipeline that it runs in, not of the server
OF_THE_TESTS = {"OPSSIGHT_SSO_TOOLS", "OPSSIGHT_SHARED", "OPSSIGHT_AXE", "OPSSIGHT_REQUIRE_SERVICES"}


def words(pattern: str, text: str) -> set[str]:
    return set(re.findall(pattern, text))


def test_each_audience_has_a_short_page():
    for audience in AUDIENCES:
        assert 0 < len(DOCS[f"{audience}.md"].splitlines()) < 160, audience


def test_every_setting_is_documented_and_every_documented_one_is_read():
    read = words(r'"(OPSSIGHT_[A-Z_]+)"', CODE) - {"OPSSIGHT_DECIDER"}
    told = words(r"\bOPSSIGHT_[A-Z_]+\b", DOCS["operator.md"]) | OF_THE_CLIENT
    assert read - told == set()
    assert words(r"\bOPSSIGHT_[A-Z_]+\b", DOCS["ci.md"]) >= OF_THE_CLIENT
    assert words(r"\bOPSSIGHT_[A-Z_]+\b", TEXT) - read - OF_THE_TESTS == set()


def test_every_event_is_documented_and_exists():
    table = DOCS["events.md"].partition("## Events")[2].partition("##")[0]
    assert words(r"`([a-z-]+:[a-z_]+)`", table) == set(events.registry)


def test_every_permission_is_documented_and_exists():
    table = DOCS["events.md"].partition("## Permissions")[2].partition("\n## ")[0]
    assert words(r"`([a-z-]+:[a-z_]+)`", table) == set(access.permissions())


def test_every_command_is_documented_and_exists():
    ours = {name for name, app in get_commands().items() if app.partition(".")[0] in CODE_APPS}
    named = words(r"manage\.py ([a-z_]+)", TEXT)
    assert ours - named == set()
    assert named - ours - FOREIGN_COMMANDS == set()


CODE_APPS = {"opssight", "accounts", "rbac", "audit", "scanning", "compliance"}


def test_every_make_target_is_documented_and_exists():
    targets = words(r"(?m)^([a-z][a-z-]*):", (ROOT / "Makefile").read_text())
    named = words(r"make ([a-z][a-z-]+)", "\n".join(words(r"(?m)^ {4}.*|`[^`\n]+`", TEXT)))
    assert targets - named == set()
    assert named - targets == set()


def test_links_between_pages_lead_somewhere():
    for name, text in DOCS.items():
        folder = ROOT if name == "README.md" else ROOT / "docs"
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (folder / link).exists(), f"{name}: {link}"


# The ten packages the user named, by the module that proves their use.
TEN = {
    "django": "django",
    "djangorestframework": "rest_framework",
    "django-otp": "django_otp",
    "django-axes": "axes",
    "django-auditlog": "auditlog",
    "cryptography": "cryptography",
    "celery": "celery",
    "django-guardian": "guardian",
    "djangorestframework-simplejwt": "rest_framework_simplejwt",
}


@pytest.mark.parametrize("package", TEN)
def test_each_of_the_named_packages_is_imported_by_code_that_runs(package):
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(CODE.replace("from __future__", "from future")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert TEN[package] in imported


def test_the_tenth_runs_this_test():
    assert "pytest-django" in (ROOT / "requirements-dev.txt").read_text()


def test_every_direct_package_has_its_sentence():
    direct = (ROOT / "requirements.txt").read_text().partition("# Brought in")[0]
    names = words(r"(?m)^([a-z0-9-]+)", direct)
    assert names - words(r"[a-z0-9-]+", DOCS["decisions.md"].partition("## Packages")[2]) == set()
