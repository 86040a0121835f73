"""The program itself: where it is had, its digest, and the Pythons it runs on."""

import ast
import glob
import os
import re
import subprocess
import sys
from hashlib import sha256

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from scanning.client.views import PROGRAM, client_digest
from tests.scanning.client.conftest import finding, report

OLDEST = (3, 8)


def pythons() -> list[str]:
    """One of each version that it is for, wherever this machine has them."""
    found = {}
    for path in [*glob.glob("/usr/bin/python3.*"), *glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python3"))]:
        said = subprocess.run(
            [path, "-c", "import ssl, sys; print(*sys.version_info[:2])"], capture_output=True, text=True
        )
        if said.returncode == 0:
            found[tuple(map(int, said.stdout.split()))] = path
    return [path for version, path in sorted(found.items()) if version >= OLDEST] or [sys.executable]


def test_it_is_served_to_everybody_with_its_digest(db):
    answer = Client().get(reverse("ci-client"))
    program = b"".join(answer.streaming_content)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/x-python; charset=utf-8")
    assert answer["Content-Disposition"] == 'attachment; filename="opssight-ci.py"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in answer.headers
    assert program == PROGRAM.read_bytes()
    assert sha256(program).hexdigest() == client_digest()
    told = Client().get(reverse("ci-client-digest"))
    assert (told.content.decode(), told["Content-Type"]) == (
        f"{client_digest()}  opssight-ci.py\n",
        "text/plain; charset=utf-8",
    )
    assert Client().post("/client/opssight-ci.py").status_code in (403, 405)


def test_the_digest_stands_in_the_guide_and_in_the_docs(eve, client_for):
    assert client_digest() in client_for(eve).get("/api-guide").content.decode()
    named = re.findall(r"\b[0-9a-f]{64}\b", (settings.BASE_DIR / "docs" / "ci.md").read_text())
    assert set(named) == {client_digest()}, "docs/ci.md names another digest"
    assert len(named) >= 3


def test_it_needs_nothing_but_the_standard_library():
    tree = ast.parse(PROGRAM.read_text(), feature_version=(3, 8))
    ast.parse(PROGRAM.read_text(), feature_version=(3, 9))
    named = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert named - {"__future__"} <= sys.stdlib_module_names


@pytest.mark.django_db(transaction=True)
def test_the_oldest_and_the_newest_python_here_run_it(ci, asset):
    ci.file("r.json", report(finding(1)))
    formats = (
        "--format",
        "json",
        "--format",
        "sarif",
        "-o",
        "s",
        "--format",
        "junit",
        "-o",
        "j",
        "--format",
        "github",
        "-o",
        "g",
    )
    for python in {pythons()[0], pythons()[-1]}:
        done = ci("upload", "--asset", asset.name, "r.json", "--fail-on", "high", *formats, python=python)
        assert (done.code, done.err) == (1, ""), python
        assert ci("scan", "--asset", "nonesuch", python=python).code == 2
        assert ci("scan", "--asset", "x", "--retries", 0, python=python, OPSSIGHT_URL="http://127.0.0.1:9").code == 4
