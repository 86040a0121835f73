"""Each requirement on sessions, tokens and OAuth has its test or its reason."""

import ast
import re
from pathlib import Path

import pytest

from opssight.settings.env import BASE_DIR
from tests.accounts.asvs_sessions import ROWS

CHAPTERS = ("Session Management", "Self-contained Tokens", "OAuth and OIDC")


def functions_of(path: str) -> set[str]:
    tree = ast.parse((BASE_DIR / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS)
def test_every_test_that_is_named_exists(row):
    held = ROWS[row]
    assert held
    for name in held if isinstance(held, list) else ():
        path, _, test = name.partition("::")
        assert test in functions_of(path), f"{row}: {name}"


def test_no_requirement_is_left_out(shared: Path):
    text = (shared / "asvs.yaml").read_text()
    found = re.findall(r"(?m)^- id: (\S+)\n  level: \d\n  chapter: (.+)$", text)
    asked = {row for row, chapter in found if chapter in CHAPTERS}
    assert len(asked) > 20
    assert asked == ROWS.keys()
