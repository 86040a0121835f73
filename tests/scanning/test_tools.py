"""The real tools as OpsSight calls them: the command, the exit code, what they leave, and what of it is believed."""

import json
import os
import re
import select
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from audit.models import AuditEntry
from scanning.inventory import asset_at
from scanning.models import Finding, Scan, ScanState
from scanning.scanners import toolbox
from scanning.scanners.base import Report, registry
from scanning.scanners.run import ToolFailed, ToolTimedOut, run, without_network
from scanning.services import fitting, request_scan, request_scans, run_scan

SAMPLES = Path(__file__).parent.parent / "samples"
MINUTE = 60


def told(monkeypatch, name: str, root: Path, files: list[str] | None = None) -> Any:
    """The JSON that the tool leaves about all files of `root` that it fits."""
    scanner, left = registry[name], []
    monkeypatch.setattr(
        type(scanner), "read", lambda self, stream, files, root: left.append(json.load(stream)) or Report([])
    )
    inside = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    run(
        scanner, root, files or [file for file in inside if scanner.fits(file)],
        deadline=time.monotonic() + 2 * MINUTE, alive=lambda: None,
    )  # fmt: skip
    return left[0]


def test_every_rule_of_ours_finds_its_sample_and_leaves_the_rest_alone(have, monkeypatch):
    have("semgrep")
    folder = SAMPLES / "rules"
    report = told(monkeypatch, "semgrep", folder)
    found = {(r["path"], r["start"]["line"], r["check_id"].rpartition(".")[2]) for r in report["results"]}
    meant = {
        (path.name, number, path.stem.removesuffix("_settings"))
        for path in folder.glob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line.endswith("# found")
    }
    assert found == meant
    assert report["errors"] == []
    assert len(report["paths"]["scanned"]) == len(list(folder.glob("*.py")))
    rules = (folder.parents[2] / "scanning" / "rules").glob("*.yml")
    known = {line.split()[-1] for path in rules for line in path.read_text().splitlines() if "- id: " in line}
    assert known == {rule for _, _, rule in meant}


def test_semgrep_reads_what_its_ignore_files_and_odd_names_would_hide(have, monkeypatch, tmp_path):
    have("semgrep")
    bad = "import os\nos.system(name)\n"
    (tmp_path / ".semgrepignore").write_text("*\n")
    for name in ("tests/a.py", "-x.py", "with space/neu.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(bad)
    report = told(monkeypatch, "semgrep", tmp_path)
    assert {r["path"] for r in report["results"]} == {"tests/a.py", "-x.py", "with space/neu.py"}


def test_semgrep_takes_the_operators_rules_and_their_languages(have, monkeypatch, tmp_path, settings):
    have("semgrep")
    rules, code = tmp_path / "rules", tmp_path / "code"
    rules.mkdir()
    code.mkdir()
    (rules / "own.yml").write_text(
        "rules: [{id: no-alert, languages: [js], severity: ERROR, message: No., pattern: alert(...)}]"
    )
    (code / "a.js").write_text("alert(1)\n")
    assert not registry["semgrep"].fits("a.js")
    settings.SEMGREP_RULES = str(rules)
    assert registry["semgrep"].fits("a.js")
    assert [r["path"] for r in told(monkeypatch, "semgrep", code)["results"]] == ["a.js"]


def test_findings_of_semgrep_have_their_code_and_a_secret_in_it_is_masked(db, have, tmp_path):
    have("semgrep")
    (tmp_path / "a.py").write_text("import os\n\nos.system(one)\nos.system(two)\n")
    (tmp_path / "settings.py").write_text('SECRET_KEY = "very-secret-key-1"\n')
    scan = request_scan(asset_at(tmp_path), scanner="semgrep", dispatch=False)
    run_scan(scan.pk)
    rows = Finding.objects.filter(path="a.py").order_by("line")
    assert [f.code_lines() for f in rows] == [[(3, "os.system(one)", True)], [(4, "os.system(two)", True)]]
    assert Finding.objects.get(path="settings.py").code == '1 SECRET_KEY = "********"'
    (tmp_path / "a.py").write_text("import os\nos.system(two)\n")
    run_scan(request_scan(asset_at(tmp_path), scanner="semgrep", dispatch=False).pk)
    assert [f.pk for f in Finding.objects.unresolved().filter(path="a.py")] == [rows[1].pk]


def test_semgreps_own_rules_are_the_operators_choice(settings, monkeypatch, tmp_path):
    scanner = registry["semgrep"]
    monkeypatch.setattr(toolbox, "program", lambda name: tmp_path / name)
    assert (scanner.network, "auto" in scanner.command([], tmp_path), scanner.fits("a.go")) == (False, False, False)
    settings.SEMGREP_AUTO = True
    assert (scanner.network, "--metrics=on" in scanner.command([], tmp_path), scanner.fits("a.go")) == (
        True,
        True,
        True,
    )


def test_detect_secrets_finds_secrets_in_what_it_is_given(have, monkeypatch, tmp_path):
    have("detect-secrets")
    (tmp_path / "conf.ini").write_text('aws = "AKIAIOSFODNN7EXAMPLQ"\n')
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    report = told(monkeypatch, "detect-secrets", tmp_path)
    assert [(name, found[0]["type"]) for name, found in report["results"].items()] == [("conf.ini", "AWS Access Key")]


def test_checkov_reads_infrastructure_and_not_what_the_target_says_of_checkov(have, monkeypatch, tmp_path):
    have("checkov")
    (tmp_path / "Dockerfile").write_text("FROM python:latest\nUSER root\n")
    (tmp_path / ".checkov.yaml").write_text("skip-check: [CKV_DOCKER_8]\n")
    report = told(monkeypatch, "checkov", tmp_path)
    failed = {check["check_id"] for check in report["results"]["failed_checks"]}
    assert {"CKV_DOCKER_7", "CKV_DOCKER_8"} <= failed


def test_what_checkov_can_not_parse_is_an_error_and_never_clean(db, have, tmp_path):
    have("checkov")
    (tmp_path / "ok.tf").write_text('variable "a" {}\n')
    (tmp_path / "broken.tf").write_text('resource "x" {{{\n')
    scan = request_scan(asset_at(tmp_path), scanner="checkov", dispatch=False)
    run_scan(scan.pk)
    scan.refresh_from_db()
    assert (scan.state, scan.reason) == (
        ScanState.COMPLETED_WITH_ERRORS,
        "broken.tf: checkov could not read it",
    )


@pytest.mark.parametrize(
    ("tool", "name", "content", "rule"),
    [
        ("semgrep", "a.py", "import os\nos.system(name)\n", "python-os-system"),
        ("detect-secrets", "a.ini", 'aws = "AKIAIOSFODNN7EXAMPLQ"\n', "AWS Access Key"),
        ("checkov", "Dockerfile", "FROM python:latest\n", "CKV_DOCKER_7"),
    ],
)
def test_what_a_real_tool_finds_becomes_rows_and_stays_the_same(db, have, tmp_path, tool, name, content, rule):
    have(tool)
    (tmp_path / name).write_text(content)
    for new in (True, False):
        scan = request_scan(asset_at(tmp_path), scanner=tool, dispatch=False)
        run_scan(scan.pk)
        scan.refresh_from_db()
        assert (scan.state, scan.reason, scan.files_read, scan.fixed) == (ScanState.COMPLETED, "", 1, 0)
        assert (scan.new > 0, scan.same > 0) == (new, not new)
    assert Finding.objects.get(rule=rule).path == name


def database(folder: Path, **meta: object) -> str:
    """Safety's, with one advisory of ours about django."""
    about = {"advisory": "Slow.", "cve": "CVE-2026-1", "id": "pyup.io-1", "specs": ["<2.2"], "v": "<2.2"}
    folder.mkdir()
    told = {"timestamp": 1_780_000_000, "base_domain": "https://example.org", **meta}
    (folder / "insecure.json").write_text(json.dumps({"$meta": told, "django": ["<2.2"]}))
    full = {"$meta": told, "django": [{**about, "more_info_path": "/x"}]}
    (folder / "insecure_full.json").write_text(json.dumps(full))
    return str(folder)


def test_safety_with_the_operators_database(db, have, tmp_path, settings):
    have("safety")
    settings.SAFETY_DB = database(tmp_path / "db")
    root = tmp_path / "code"
    root.mkdir()
    (root / "requirements.txt").write_text("django==2.0 ; python_version > '3'\nother[x]==1.0 --hash=sha256:0  # why\n")
    scan = scanned("safety", root)
    assert (scan.state, scan.reason, scan.new) == (ScanState.COMPLETED, "", 1)
    assert Finding.objects.get().title == "django 2.0: Slow"
    (root / "requirements.txt").write_text("requests>=2\n-e ./shop\ngit+https://example.org/x\nother==1.*\n")
    scan = scanned("safety", root)
    assert (scan.state, scan.fixed) == (ScanState.COMPLETED_WITH_ERRORS, 0)
    assert "not looked at: requests>=2, git+https://example.org/x, other==1.*" in scan.reason
    settings.SAFETY_DB = database(tmp_path / "other", base_domain=None)
    (tmp_path / "other" / "insecure_full.json").write_text('{"$meta": {}}')
    assert "has no base_domain" in scanned("safety", root).reason


# --- programs of vendors ------------------------------------------------------------------------------------------

TOKENS = ("ghp_" + "x7Kq2mVb9TzR4nLw8YcJ5sDf1GhP3aEu6QoB", "ghp_" + "p3Zt8LwQ1vXk6RbN9mYc2HsJ7dGf4TaE5uVo")


def scanned(tool: str, root: Path) -> Scan:
    scan = request_scan(asset_at(root), scanner=tool, dispatch=False)
    run_scan(scan.pk)
    scan.refresh_from_db()
    return scan


def stored() -> str:
    """All that findings and the trail keep, as text."""
    rows = [*Finding.objects.values(), *AuditEntry.objects.values(), *Scan.objects.values()]
    return "\n".join(str(row) for row in rows)


@pytest.mark.parametrize("tool", ["gitleaks", "trivy"])
def test_secrets_are_found_and_stand_in_no_row(db, have, tmp_path, tool):
    have(tool)
    lines = ["password = hunter2-beside", f"first={TOKENS[0]}", f"other={TOKENS[1]}", "b=hunter3-beside"]
    (tmp_path / "app.ini").write_text("\n".join(lines))
    scan = scanned(tool, tmp_path)
    assert (scan.state, scan.reason, scan.new) == (ScanState.COMPLETED, "", 2)
    assert scan.scanner_version == {"gitleaks": "8.30.1", "trivy": "0.59.1"}[tool]
    assert {(f.rule, f.path, f.line, f.cwe, f.code) for f in Finding.objects.all()} == {
        ("github-pat", "app.ini", 2, 798, ""),
        ("github-pat", "app.ini", 3, 798, ""),
    }
    assert not [hidden for hidden in (*TOKENS, "hunter2", "hunter3") if hidden in stored()]
    assert scanned(tool, tmp_path).same == 2


def test_gitleaks_tells_two_secrets_of_a_file_apart(db, have, tmp_path):
    have("gitleaks")
    (tmp_path / "app.ini").write_text(f"first={TOKENS[0]}\nother={TOKENS[1]}\n")
    scanned("gitleaks", tmp_path)
    other = Finding.objects.get(line=2)
    (tmp_path / "app.ini").write_text(f"other={TOKENS[1]}\n")
    assert scanned("gitleaks", tmp_path).fixed == 1
    assert [(f.pk, f.line) for f in Finding.objects.unresolved()] == [(other.pk, 1)]


@pytest.mark.parametrize(
    ("name", "content", "rule", "line"),
    [
        ("Dockerfile", "FROM alpine:3.20\nENV DB_PASSWORD hunter2\nUSER root\nCMD ['sh']\n", "DS002", 3),
        ("build/api.Dockerfile", "FROM python:latest\nUSER app\n", "DS001", 1),
        ("main.tf", 'resource "aws_db_instance" "d" {\n  password = "hunter2"\n}\n', "AVD-AWS-0080", 1),
        (
            "pod.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: a\n    image: nginx:1.27\n"
            "    env:\n    - name: DB_PASSWORD\n      value: hunter2\n    securityContext: {privileged: true}\n",
            "KSV017", 6,
        ),
    ],
)  # fmt: skip
def test_trivy_judges_infrastructure_and_keeps_what_it_is_set_to_quiet(db, have, tmp_path, name, content, rule, line):
    have("trivy")
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    scan = scanned("trivy", tmp_path)
    assert (scan.state, scan.reason) == (ScanState.COMPLETED, "")
    finding = Finding.objects.get(rule=rule)
    assert (finding.path, finding.line) == (name, line)
    assert finding.code
    assert "hunter2" not in stored()
    path.unlink()
    (tmp_path / "readme.txt").write_text("nothing\n")
    assert scanned("trivy", tmp_path).fixed == scan.new


@pytest.mark.parametrize("tool", ["gitleaks", "trivy"])
def test_secrets_are_looked_for_in_tests_and_texts_too(db, have, tmp_path, tool):
    have(tool)
    names = {"tests/a.ini", "examples/a.ini", "vendor/a.ini", "README.md", "a.ini"}
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"a={TOKENS[0]}\n")
    assert scanned(tool, tmp_path).state == ScanState.COMPLETED
    assert set(Finding.objects.values_list("path", flat=True)) == names


@pytest.mark.parametrize("tool", ["gitleaks", "trivy"])
def test_a_target_does_not_tell_a_vendors_program_what_to_look_for(db, have, tmp_path, tool):
    have(tool)
    (tmp_path / "-rf").write_text(f"a={TOKENS[0]}\n")
    (tmp_path / "two\nlines").write_text(f"a={TOKENS[0]}\n")
    (tmp_path / ".gitleaks.toml").write_text("[allowlist]\npaths = ['.*']\n")
    (tmp_path / ".gitleaksignore").write_text("-rf:github-pat:1\n")
    (tmp_path / ".trivyignore").write_text("github-pat\n")
    (tmp_path / "trivy.yaml").write_text("scan: {scanners: [license]}\n")
    (tmp_path / "trivy-secret.yaml").write_text("disable-rules: [github-pat]\n")
    (tmp_path / ".gitignore").write_text("*\n")
    scan = scanned(tool, tmp_path)
    assert (scan.state, scan.reason) == (ScanState.COMPLETED, "")
    assert {finding.path for finding in Finding.objects.all()} == {"-rf", "two\nlines"}


@pytest.mark.parametrize("tool", ["gitleaks", "trivy"])
def test_a_vendors_program_on_a_wrong_target_has_failed_and_closes_nothing(db, have, tmp_path, tool, monkeypatch):
    have(tool)
    target = tmp_path / "target"
    target.mkdir()
    (target / "app.ini").write_text(f"a={TOKENS[0]}\n")
    assert scanned(tool, target).new == 1
    command = registry[tool].command
    with monkeypatch.context() as patch:
        patch.setattr(
            type(registry[tool]), "command",
            lambda self, files, report: ["/nowhere" if word == "." else word for word in command(files, report)],
        )  # fmt: skip
        scan = scanned(tool, target)
    assert (scan.state, scan.fixed) == (ScanState.FAILED, 0)
    assert "exit code 1" in scan.reason
    assert Finding.objects.unresolved().count() == 1
    shutil.rmtree(target)
    scan = scanned(tool, target)
    assert (scan.state, scan.fixed) == (ScanState.FAILED, 0)
    assert "does not exist" in scan.reason


def test_pip_audit_that_reaches_nobody_has_failed(db, have, tmp_path, settings):
    have("pip-audit")
    (tmp_path / "requirements.txt").write_text("django==2.0\n")
    settings.OSV_URL = "http://127.0.0.1:9/v1/query"
    scan = request_scan(asset_at(tmp_path), scanner="pip-audit", dispatch=False)
    run_scan(scan.pk)
    scan.refresh_from_db()
    assert (scan.state, scan.total) == (ScanState.FAILED, 0)
    assert "left no report" in scan.reason
    settings.OSV_URL = ""
    scan = request_scan(asset_at(tmp_path), scanner="pip-audit", dispatch=False)
    run_scan(scan.pk)
    scan.refresh_from_db()
    assert scan.state == ScanState.FAILED
    assert "OPSSIGHT_OSV_URL" in scan.reason


# --- which tools run ----------------------------------------------------------------------------------------------


def test_by_default_every_installed_tool_that_fits_runs(db, have, tmp_path):
    have("bandit", "detect-secrets", "checkov")
    folder = Path(shutil.copytree(SAMPLES / "vulnerable", tmp_path / "shop"))
    asset = asset_at(folder)
    assert fitting(asset) == ["bandit", "detect-secrets"]
    (folder / "Dockerfile").write_text("FROM scratch\n")
    assert set(fitting(asset)) == {"bandit", "detect-secrets", "checkov"}
    assert {scan.scanner for scan in request_scans(asset, dispatch=False)} == {"bandit", "checkov", "detect-secrets"}
    assert [scan.scanner for scan in request_scans(asset, scanners=["checkov"], dispatch=False)] == ["checkov"]
    assert Scan.objects.count() == 3  # those that wait are asked for once


def test_one_tool_that_fails_leaves_the_others(db, have, tmp_path, capsys):
    have("bandit")
    shutil.copytree(SAMPLES / "vulnerable", tmp_path / "shop")
    with pytest.raises(SystemExit) as end:
        call_command("scan", str(tmp_path / "shop"), "--json", "--scanners", "checkov,bandit,gitleaks,semgrep")
    answer = json.loads(capsys.readouterr().out)
    states = {scanner["name"]: (scanner["state"], scanner["reason"]) for scanner in answer["scanners"]}
    assert end.value.code == 3
    assert states["bandit"] == ("completed", "")
    assert states["checkov"][0] == states["gitleaks"][0] == states["semgrep"][0] == "not_installed"
    assert "make scanner NAME=checkov" in states["checkov"][1]
    assert len(answer["findings"]) == 5


def test_a_tool_that_does_not_fit_says_so(db, have, tmp_path, capsys):
    have("checkov")
    (tmp_path / "a.py").write_text("a = 1\n")
    with pytest.raises(SystemExit):
        call_command("scan", str(tmp_path), "--json", "--scanners", "checkov")
    [scanner] = json.loads(capsys.readouterr().out)["scanners"]
    assert scanner["state"] == "failed"
    assert "holds no file that this scanner reads (Terraform, " in scanner["reason"]
    with pytest.raises(CommandError):
        call_command("scan", str(tmp_path), "--scanners", "checkov,nonsense")


def test_programs_of_vendors_come_from_the_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(toolbox.NotInstalled, match="Put its program trivy on the PATH"):
        toolbox.program("trivy")
    (tmp_path / "trivy").write_text("#!/bin/sh\necho 'Version: 0.59.1'\n")
    (tmp_path / "trivy").chmod(0o755)
    assert toolbox.program("trivy") == tmp_path / "trivy"
    assert toolbox.version("trivy") == "0.59.1"


# --- tools that misbehave -----------------------------------------------------------------------------------------

PRINTS_NOTHING_FOUND = '{"results": [], "errors": [], "metrics": {"./a.py": {}, "./b.py": {}}}'


@pytest.fixture
def instead(have, monkeypatch, tmp_path):
    """Put a script in bandit's place and run it on two files: the report."""

    def go(script: str, *, seconds: float = 20) -> Report:
        program = tmp_path / "bandit"
        program.write_text(f"#!/bin/sh\nreport=$5\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(toolbox, "program", lambda name: program)
        target = tmp_path / "target"
        target.mkdir(exist_ok=True)
        for name in ("a.py", "b.py"):
            (target / name).write_text("")
        deadline = time.monotonic() + seconds
        return run(registry["bandit"], target, ["a.py", "b.py"], deadline=deadline, alive=lambda: None)

    return go


@pytest.mark.parametrize("ends", [True, False])
def test_children_of_a_tool_end_with_it(instead, tmp_path, ends):
    """The child holds a pipe open for as long as it lives; the tool ends by itself, or is ended."""
    pipe, started = tmp_path / "pipe", tmp_path / "started"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    script = f"(: >{started}; exec sleep 600) >{pipe} &\nwhile [ ! -e {started} ]; do :; done\n"
    if ends:
        assert instead(script + f"echo '{PRINTS_NOTHING_FOUND}' > \"$report\"").files == {"a.py", "b.py"}
    else:
        with pytest.raises(ToolTimedOut):
            instead(script + "exec sleep 600", seconds=0.5)
    assert started.exists()
    assert select.select([reader], [], [], 10)[0]
    assert os.read(reader, 1) == b""  # no writer is left
    os.close(reader)


def test_a_tool_that_eats_memory_is_stopped_and_says_so(instead, settings):
    settings.SCAN_MEMORY = 256
    with pytest.raises(ToolFailed, match=r"exit code 3(.|\n)*OPSSIGHT_SCAN_MEMORY"):
        instead(f"{sys.executable} -c 'x = bytearray(600_000_000)' || exit 3")


def test_a_tool_that_writes_without_end_is_stopped_and_says_so(instead, monkeypatch):
    monkeypatch.setattr("scanning.scanners.run.MOST_WRITTEN", 2)
    with pytest.raises(ToolFailed, match=r"SIGXFSZ: it wrote a file of more than 2 MB"):
        instead('exec cat /dev/zero > "$report"')


def test_links_that_lead_nowhere_and_odd_names_keep_nothing_else_from_being_read(db, have, tmp_path):
    have("bandit")
    (tmp_path / "loop1.py").symlink_to("loop2.py")
    (tmp_path / "loop2.py").symlink_to("loop1.py")
    (tmp_path / "round").symlink_to(".")
    (tmp_path / "passwd.py").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.py")
    names = ["-rf.py", "--output=x.py", "two\nlines.py", "$(touch pwned).py"]
    for name in names:
        (tmp_path / name).write_text("import os\nos.system(x)\n")
    scan = request_scan(asset_at(tmp_path), dispatch=False)
    run_scan(scan.pk)
    scan.refresh_from_db()
    assert scan.state == ScanState.COMPLETED_WITH_ERRORS
    assert {name for name in ("loop1.py", "pipe.py") if f"{name}: can't be read" in scan.reason} == {
        "loop1.py",
        "pipe.py",
    }
    assert set(Finding.objects.values_list("path", flat=True)) == set(names)
    assert not (tmp_path / "pwned").exists()


def test_a_tool_knows_nothing_of_our_secrets(instead, monkeypatch):
    monkeypatch.setenv("OPSSIGHT_SECRET_KEY", "not for scanners")
    with pytest.raises(ToolFailed) as failure:
        instead("env; exit 9")
    assert "OPSSIGHT" not in str(failure.value)
    assert "not for scanners" not in str(failure.value)
    assert "HOME=home" in str(failure.value)  # in the folder of its own, whose path is not told


def test_a_tool_has_no_network_where_it_can_be_taken_away(instead):
    if not without_network():
        pytest.skip("this machine lets nobody like us take the network from a process")
    with pytest.raises(ToolFailed) as failure:
        instead("cat /proc/net/dev; exit 9")
    assert re.findall(r"(\w+): ", str(failure.value).partition("exit code 9: ")[2]) == ["lo"]
