"""Every format, of ordinary findings and of hostile ones."""

import io
import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from scanning.models import Finding
from scanning.reports import read
from tests.conftest import put
from tests.scanning.client.conftest import finding, report

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07 red", "line\n::set-output name=x::y", "::error::injected", "##[error]x ##vso[task.x]y",
    "\r::add-mask::x", "]]><failure/>&<script>alert(1)</script>", "\x00\x0b\ufffe\uffff", "\u202egpj.exe\u2066",
    "a%0A::warning::x", "title,file=x:y,line=1", "\u2028\u0085 next", "{{7*7}} ${jndi:ldap://x}", "\U0001f600 é ß 漢",
]  # fmt: skip


@pytest.fixture
def hostile(ci, asset):
    """A report is tidied as it comes in; here its findings say what nobody tidied."""
    ci.file("r.json", report(*(finding(n, "critical") for n in range(1, len(HOSTILE) + 1)), finding(99, "low")))
    ci("upload", "--asset", asset.name, "r.json")
    for number, text in enumerate(HOSTILE, 1):
        text = text.replace("\0", "")
        put(Finding.objects.filter(rule=f"R{number}"), title=text, path=text[:900], rule=text, help_url=text)
    return ci


def outputs(ci, asset, *more) -> dict[str, str]:
    formats = ("json", "sarif", "junit", "github", "table")
    given = [word for name in formats for word in ("--format", name, "-o", f"out.{name}")]
    done = ci("upload", "--asset", asset.name, "r.json", *more, *given)
    assert done.code in (0, 1), done.err
    assert not list(ci.folder.glob("*.part"))
    return {name: (ci.folder / f"out.{name}").read_bytes().decode() for name in formats}


def test_sarif_is_what_2_1_0_asks_for_and_our_own_reader_reads_it(ci, asset):
    ci.file("r.json", report(finding(1, "critical", cwe=78, url="https://x.example/a"), finding(2, "low", line=0)))
    text = outputs(ci, asset)["sarif"]
    said = json.loads(text)
    assert (said["version"], len(said["runs"])) == ("2.1.0", 1)
    [run] = said["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "linter"
    assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"]) == 2
    assert [invocation["executionSuccessful"] for invocation in run["invocations"]] == [True]
    for result in run["results"]:
        assert result["message"]["text"]
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        for place in result["locations"]:
            physical = place["physicalLocation"]
            assert re.match(r"^[A-Za-z0-9._~/%-]+$", physical["artifactLocation"]["uri"])
            assert physical.get("region", {}).get("startLine", 1) >= 1
    scores = {rule["id"]: rule["properties"]["security-severity"] for rule in driver["rules"]}
    assert scores == {"R1": "9.5", "R2": "2.0"}
    [back] = read(io.BytesIO(text.encode()))
    assert (back.tool, back.complete, back.errors) == ("linter", True, {})
    assert [(one.rule, one.path, one.line, one.cwe) for one in back.findings] == [
        ("R1", "shop.py", 1, 78), ("R2", "shop.py", 0, None),
    ]  # fmt: skip


def test_several_runs_of_one_tool_are_one_run_of_sarif(ci, asset):
    ci.file("r.json", report(finding(1)))
    ci.file("s.json", report(finding(2)))
    done = ci("upload", "--asset", asset.name, "r.json", "s.json", "--partial", "--format", "sarif")
    [run] = json.loads(done.out)["runs"]
    assert sorted(result["ruleId"] for result in run["results"]) == ["R1", "R2"]


def test_sarif_of_a_run_with_errors_does_not_say_success(ci, asset):
    ci.file("r.json", report(errors=[{"path": "b.py", "reason": "not parsed"}]))
    done = ci("upload", "--asset", asset.name, "r.json", "--format", "sarif")
    [run] = json.loads(done.out)["runs"]
    assert (done.code, run["invocations"][0]["executionSuccessful"]) == (3, False)
    [back] = read(io.BytesIO(done.out.encode()))
    assert back.complete is False


def test_junit_counts_what_it_holds(ci, asset):
    ci.file("r.json", report(finding(1, "critical"), finding(2, "low")))
    for gate, failures in (((), 2), (("--fail-on", "high"), 1)):
        [suite] = ElementTree.fromstring(outputs(ci, asset, *gate)["junit"])
        cases = suite.findall("testcase")
        assert (suite.get("tests"), len(cases)) == ("3", 3)  # the run itself is one
        assert suite.get("failures") == str(len(suite.findall("testcase/failure"))) == str(failures)
        assert suite.get("skipped") == str(len(suite.findall("testcase/skipped"))) == str(2 - failures)
        assert suite.get("errors") == "0"
        assert cases[1].get("file") == "shop.py"


def test_github_marks_the_lines_the_most_severe_first(ci, asset):
    ci.file("r.json", report(finding(1, "low"), finding(2, "critical"), *(finding(n, "info") for n in range(3, 70))))
    lines = outputs(ci, asset)["github"].splitlines()
    assert lines[0] == "::error file=shop.py,line=2,title=critical%3A R2::title 2 (linter)"
    assert lines[1] == "::notice file=shop.py,line=1,title=low%3A R1::title 1 (linter)"
    assert "::notice::18 more of level notice" in lines
    assert all(re.match(r"^::(error|warning|notice)( [a-z]+=[^:,]*(,[a-z]+=[^:,]*)*)?::[^\r\n]*$", x) for x in lines)


def test_hostile_texts_steer_nothing(hostile, asset):
    said = outputs(hostile, asset)
    for name, text in said.items():
        assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}, name
        if name in ("github", "table"):
            assert "##[" not in text
            assert "##vso[" not in text
    commands = [line for line in said["github"].splitlines() if line.startswith("::")]
    assert len(commands) == len(said["github"].splitlines()) == len(HOSTILE) + 2  # one more finding, and the verdict
    assert all(re.match(r"^::(error|warning|notice) [a-z]+=[^:,]*(,[a-z]+=[^:,]*)*::[^\r\n]*$", x) for x in commands)
    assert not [line for line in said["table"].splitlines() if line.lstrip().startswith("::")]
    suites = ElementTree.fromstring(said["junit"])
    assert len(suites.findall("testsuite/testcase")) == len(HOSTILE) + 2
    assert {child.tag for case in suites.iter("testcase") for child in case} == {"failure"}
    sarif = json.loads(said["sarif"])["runs"][0]
    assert len(sarif["results"]) == len(HOSTILE) + 1
    assert not [rule for rule in sarif["tool"]["driver"]["rules"] if "\n" in rule["id"]]
    assert len(json.loads(said["json"])["findings"]) == len(HOSTILE) + 1
    [back] = read(io.BytesIO(said["sarif"].encode()))
    assert len(back.findings) == len(HOSTILE) + 1


def test_a_terminal_without_unicode_and_a_reader_that_leaves(hostile, asset):
    upload = ("upload", "--asset", asset.name, "r.json", "--fail-on", "high")
    assert hostile(*upload, PYTHONIOENCODING="ascii", LANG="C").code == 1
    process = hostile.start(*upload)
    process.stdout.close()  # type: ignore[union-attr]
    assert (process.wait(timeout=60), process.stderr.read().count(b"Traceback")) == (1, 0)  # type: ignore[union-attr]
    process.stderr.close()  # type: ignore[union-attr]
    process.stdin.close()  # type: ignore[union-attr]


def test_a_result_of_before_is_not_left_for_this_one(ci, asset):
    ci.file("j.xml", "<testsuites/>")
    done = ci("upload", "--asset", asset.name, "r.json", "--format", "junit", "-o", "j.xml", OPSSIGHT_TOKEN="wrong")
    assert done.code == 4
    suites = ElementTree.fromstring((ci.folder / "j.xml").read_text())
    assert len(suites.findall("testsuite/testcase/error")) == 1
    ci.file("r.json", report())
    assert ci("upload", "--asset", asset.name, "r.json", "--format", "json", "-o", "/dev/null").code == 0
    full = ci("upload", "--asset", asset.name, "r.json", "--format", "json", "-o", "/dev/full")
    assert (full.code, "can't be written" in full.err) == (2, True)


def test_lines_for_people_and_for_the_runner_share_standard_output(ci, asset):
    ci.file("r.json", report(finding(1)))
    done = ci("upload", "--asset", asset.name, "r.json", "--format", "table", "--format", "github",
              "--format", "sarif", "-o", "s.sarif")  # fmt: skip
    assert done.code == 0
    assert "::error file=shop.py" in done.out
    assert "HIGH" in done.out


def test_version_names_the_digest(ci, tmp_path):
    from scanning.client.views import PROGRAM, client_digest

    said = subprocess.run([sys.executable, PROGRAM, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(rf"opssight-ci \d+\.\d+ sha256:{client_digest()}\n", said.stdout)
