"""The list names tests that exist, and every requirement of the chapter where the list of requirements is at hand."""

import re
from pathlib import Path

import pytest
from django.conf import settings

from tests.accounts.asvs import AUTHENTICATION


@pytest.mark.parametrize("row", AUTHENTICATION)
def test_each_row_names_a_test_or_a_reason(row):
    said = AUTHENTICATION[row]
    if said.startswith("- "):
        assert len(said) > 20
        return
    file, _, name = said.partition("::")
    assert f"def {name}(" in (Path(settings.BASE_DIR) / file).read_text()


def test_no_requirement_of_the_chapter_is_missing(shared):
    text = (shared / "asvs.yaml").read_text()
    wanted = re.findall(r"- id: (V[\d.]+)\n  level: \d\n  chapter: Authentication\n", text)
    assert wanted
    assert set(wanted) == AUTHENTICATION.keys()
