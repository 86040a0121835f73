"""The generator as oracle: which findings of two reports are the same, at size and within memory."""

import importlib.util
import io
import json
import subprocess
import sys

import pytest

from scanning import findings, reports

N = 400


@pytest.fixture(scope="module")
def build(shared):
    spec = importlib.util.spec_from_file_location("gen_report", shared / "tools" / "gen_report.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build


def marks(body: object) -> set[str]:
    (run,) = reports.read(io.BytesIO(json.dumps(body).encode()))
    return {mark for mark, _ in findings.fingerprints(run.tool, run.findings)}


@pytest.mark.parametrize("format", ["semgrep", "sarif", "bandit", "trivy"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_stay_and_the_others_differ(build, format, seed):
    base = marks(build(format, N, seed))
    assert len(base) == N
    assert marks(build(format, N, seed)) == base
    changed = marks(build(format, N, seed, drop=0.1, new=0.05))
    assert (len(base - changed), len(changed - base)) == (N // 10, N // 20)


@pytest.mark.parametrize("format", ["semgrep", "sarif", "bandit", "trivy"])
def test_what_is_said_twice_is_one(build, format):
    base, doubled = marks(build(format, N)), marks(build(format, N, dup=0.2))
    assert doubled <= base
    assert len(doubled) == N - N // 5


def test_lines_may_move_and_rules_may_lie_elsewhere(build):
    body = build("semgrep", N)
    base = marks(body)
    for result in body["results"]:
        result["start"]["line"] += 1
        result["end"]["line"] += 1
        result["check_id"] = "other.folder." + result["check_id"].rpartition(".")[2]
    assert marks(body) == base


MEASURE = """
import os, resource, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "opssight.settings.test"
import django
django.setup()
from scanning import reports
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(run,) = reports.read(open(sys.argv[1], "rb"))
usage = resource.getrusage(resource.RUSAGE_SELF)
print(len(run.findings), (usage.ru_maxrss - before) // 1024)
"""


def test_what_is_not_read_of_a_large_report_costs_no_memory(tmp_path):
    """40 MB of what semgrep says beside its findings."""
    report = tmp_path / "large.json"
    with report.open("w") as file:
        file.write('{"errors": [], "results": [], "time": [')
        file.write(",".join(['{"path": "' + "x" * 80 + '", "times": [0.1, 0.2]}'] * 350_000))
        file.write("]}")
    assert report.stat().st_size > 30_000_000
    done = subprocess.run([sys.executable, "-c", MEASURE, report], capture_output=True, text=True, check=True)
    found, megabytes = map(int, done.stdout.split())
    assert found == 0
    assert megabytes < 40
