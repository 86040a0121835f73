"""Reports from elsewhere: tried, taken in, repeated, taken back; all of one or nothing."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client

from accounts.models import User
from accounts.tokens.services import issue_token
from audit.models import AuditEntry
from rbac.services import assign_role, create_unit, permissions_of, root_unit
from scanning.imports.models import Import
from scanning.inventory import asset_at
from scanning.models import Asset, Finding, Scan, Severity, Status
from tests.conftest import put

pytestmark = pytest.mark.django_db


def report(*places: str, severity: str = "HIGH") -> bytes:
    """Bandit's, of places such as "shop.py:9"; it vouches for shop.py and pay.py."""
    results = [
        {
            "test_id": "B602", "issue_text": "A shell is started.", "issue_severity": severity,
            "issue_confidence": "HIGH", "filename": f"./{path}", "line_number": int(line), "line_range": [int(line)],
            "code": f"{line} call({line}, shell=True)\n", "issue_cwe": {"id": 78}, "more_info": "",
        }
        for path, _, line in (place.partition(":") for place in places)
    ]  # fmt: skip
    metrics = {"_totals": {}, "./shop.py": {}, "./pay.py": {}}
    return json.dumps({"errors": [], "generated_at": "", "metrics": metrics, "results": results}).encode()


@pytest.fixture
def asset(db: None, tmp_path) -> Asset:
    return asset_at(tmp_path)


@pytest.fixture
def sender(asset) -> Callable[[User], Any]:
    """`sender(dev)(report(), is_partial="true")`: an upload by that person's token; `.client` is the caller."""

    def make(person: User) -> Any:
        _, text = issue_token(person, name="ci", scopes=permissions_of(person))
        client = Client(headers={"authorization": f"Bearer {text}"})

        def post(content: bytes, *, to: str = str(asset.uid), **more: Any) -> Any:
            file = SimpleUploadedFile("bandit.json", content)
            return client.post("/api/v1/imports", {"asset": to, "file": file, **more})

        post.client = client
        return post

    return make


@pytest.fixture
def send(sender, dev) -> Any:
    """By a developer, who may import and not take back."""
    return sender(dev)


@pytest.fixture
def send_and_undo(sender, dev) -> Any:
    assign_role(dev, "analyst", reason="takes back")
    return sender(dev)


def counts(answer: Any) -> tuple[int, int, int, int]:
    assert answer.status_code in (200, 201), answer.content
    body = answer.json()
    return body["new"], body["same"], body["fixed"], body["reopened"]


def statuses() -> dict[str, str]:
    return {finding.place: finding.status for finding in Finding.objects.all()}


def test_a_report_its_repetition_and_the_next_one(send):
    first = send(report("shop.py:9", "pay.py:3"))
    assert (first.status_code, counts(first)) == (201, (2, 0, 0, 0))
    assert [row["state"] for row in first.json()["scanners"]] == ["completed"]
    assert send.client.get(first["Location"]).json()["new"] == 2
    entries = AuditEntry.objects.filter(resource_type="scanning.finding").count()
    assert counts(send(report("shop.py:9", "pay.py:3"))) == (0, 2, 0, 0)
    assert AuditEntry.objects.filter(resource_type="scanning.finding").count() == entries
    assert counts(send(gzip.compress(report("shop.py:9")))) == (0, 1, 1, 0)
    assert counts(send(report("shop.py:9", "pay.py:3"))) == (0, 1, 0, 1)
    assert statuses() == {"shop.py:9": "open", "pay.py:3": "open"}


def test_a_trial_says_the_same_and_leaves_nothing(send):
    send(report("shop.py:9"))
    before = (Import.objects.count(), Scan.objects.count(), AuditEntry.objects.count())
    trial = send(report("pay.py:3"), dry_run="true")
    assert (trial.status_code, counts(trial), trial.json()["uid"]) == (200, (1, 0, 1, 0), None)
    assert (Import.objects.count(), Scan.objects.count(), AuditEntry.objects.count()) == before
    assert statuses() == {"shop.py:9": "open"}
    assert counts(send(report("pay.py:3"))) == (1, 0, 1, 0)


def test_a_partial_report_closes_only_in_the_files_it_read(send, asset):
    send(report("shop.py:9", "pay.py:3"))
    put(Finding.objects.filter(path="pay.py"), path="elsewhere.py")
    assert counts(send(report(), is_partial="true")) == (0, 0, 1, 0)
    assert statuses() == {"shop.py:9": "fixed", "elsewhere.py:3": "open"}
    assert counts(send(report())) == (0, 0, 1, 0)  # of the whole asset: that file is gone
    assert statuses() == {"shop.py:9": "fixed", "elsewhere.py:3": "fixed"}


def test_a_report_with_errors_closes_nothing(send):
    send(report("shop.py:9", "pay.py:3"))
    answer = send(report().replace(b'"errors": []', b'"errors": [{"filename": "./pay.py", "reason": "syntax error"}]'))
    assert counts(answer) == (0, 0, 0, 0)
    assert [(row["state"], row["reason"]) for row in answer.json()["scanners"]] == [
        ("completed_with_errors", "pay.py: syntax error")
    ]
    assert set(statuses().values()) == {"open"}


def test_what_the_tool_was_told_to_leave_raises_nothing_and_is_not_gone(send):
    rows = [
        {"rule": f"R{n}", "title": "t", "severity": "high", "path": "a.py", "line": n, "id": str(n)} for n in (1, 2)
    ]

    def own() -> bytes:
        return json.dumps({"tool": "own", "findings": rows}).encode()

    rows[1]["suppressed"] = "accepted in the source"
    assert counts(send(own())) == (1, 0, 0, 0)
    rows[0]["suppressed"] = "accepted in the source"
    assert counts(send(own())) == (0, 0, 0, 0)
    assert statuses() == {"a.py:1": "open"}
    del rows[0]
    assert counts(send(own())) == (0, 0, 1, 0)


@pytest.mark.parametrize(
    ("format", "nothing"),
    [
        ("bandit", {"errors": [], "metrics": {"_totals": {}}, "results": []}),
        ("semgrep", {"errors": [], "paths": {"scanned": []}, "results": [], "version": "1.182.0"}),
    ],
)
def test_a_tool_that_read_nothing_is_not_clean_and_closes_nothing(send, asset, format, nothing):
    send(report("shop.py:9"))
    put(Finding.objects.all(), scanner=format)
    answer = send(json.dumps(nothing).encode())
    assert counts(answer) == (0, 0, 0, 0)
    [row] = answer.json()["scanners"]
    assert (row["state"], "names no file that was read" in row["reason"]) == ("completed_with_errors", True)
    assert statuses() == {"shop.py:9": "open"}
    assert not Scan.objects.latest("pk").is_clean


@pytest.mark.parametrize("named", [True, False])
def test_an_empty_report_that_does_not_tell_what_was_read_closes_and_is_not_called_clean(send, named):
    send(report("shop.py:9"))
    put(Finding.objects.all(), scanner="own")
    nothing = {"tool": "own", "findings": [], **({"files": ["shop.py"]} if named else {})}
    answer = send(json.dumps(nothing).encode())
    assert counts(answer) == (0, 0, 1, 0)
    [row] = answer.json()["scanners"]
    assert (row["state"], "does not tell what was read" in row["reason"]) == ("completed", not named)
    assert Scan.objects.latest("pk").is_clean is named


@pytest.mark.parametrize(("format", "content"), [("gitleaks", b"[]"), ("trivy", b'{"SchemaVersion": 2}')])
def test_so_it_is_with_the_tools_that_never_tell(send, format, content):
    answer = send(content, format=format)
    [row] = answer.json()["scanners"]
    assert (row["scanner"], row["state"], "does not tell" in row["reason"]) == (format, "completed", True)
    assert not Scan.objects.latest("pk").is_clean


def test_decisions_outlive_reports(send):
    send(report("shop.py:9", "pay.py:3"))
    put(Finding.objects.filter(path="pay.py"), status=Status.FALSE_POSITIVE)
    assert counts(send(report())) == (0, 0, 1, 0)
    assert counts(send(report("shop.py:9", "pay.py:3"))) == (0, 1, 0, 1)
    assert statuses() == {"shop.py:9": "open", "pay.py:3": "false_positive"}


def undo(send: Any, answer: Any) -> Any:
    return send.client.post(f"{answer['Location']}/undo")


def test_taken_back_it_is_as_if_it_had_not_come(send_and_undo):
    send = send_and_undo
    send(report("shop.py:9", "pay.py:3"))
    due = Finding.objects.get(path="shop.py").due_at
    second = send(report("shop.py:9", "shop.py:20", severity="LOW"))
    assert counts(second) == (1, 1, 1, 0)
    done = undo(send, second)
    assert (done.status_code, done.json()) == (200, {"withdrawn": 1, "restored": 2, "kept": 0})
    assert statuses() == {"shop.py:9": "open", "pay.py:3": "open"}
    shop = Finding.objects.get(path="shop.py")
    assert (shop.severity, shop.due_at) == (Severity.HIGH, due)
    assert [scan.state for scan in Scan.objects.order_by("pk")] == ["completed", "undone"]
    told = AuditEntry.objects.filter(event__in=["findings:withdrawn", "findings:restored", "imports:undone"])
    assert sorted(entry.event for entry in told) == [
        "findings:restored", "findings:restored", "findings:withdrawn", "imports:undone",
    ]  # fmt: skip
    again = undo(send, second)
    assert (again.status_code, "was undone on" in again.json()["detail"]) == (409, True)


def test_what_was_decided_or_seen_since_stays(send_and_undo):
    send = send_and_undo
    send(report("shop.py:1"))
    second = send(report("shop.py:2", "shop.py:3"))
    put(Finding.objects.filter(line=1), status=Status.ACCEPTED)
    put(Finding.objects.filter(line=2), status=Status.TRIAGED)
    send(report("shop.py:3"))
    assert undo(send, second).json() == {"withdrawn": 0, "restored": 0, "kept": 3}
    assert statuses() == {"shop.py:1": "accepted", "shop.py:2": "fixed", "shop.py:3": "open"}


def test_who_may(send, eve, dev, adam, asset, client_for):
    first = send(report("shop.py:9"))
    assert undo(send, first).status_code == 403  # a developer imports, an analyst takes back
    file = SimpleUploadedFile("r.json", report())
    for person, status in ((eve, 403), (adam, 403)):
        answer = client_for(person).post("/api/v1/imports", {"asset": str(asset.uid), "file": file})
        assert answer.status_code == status
    assert client_for(adam).get(first["Location"]).status_code == 200
    elsewhere = Asset.objects.create(unit=create_unit("Elsewhere", parent=root_unit()), name="x", location="/x")
    assign_role(eve, "developer", unit=elsewhere.unit, reason="works there")
    client = client_for(eve)
    assert client.get(first["Location"]).status_code == 404
    file = SimpleUploadedFile("r.json", report())
    assert client.post("/api/v1/imports", {"asset": str(asset.uid), "file": file}).status_code == 404
    assert Finding.objects.get().status == Status.OPEN


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"{}", b"[]", b"\xff\xfe", b'{"results": [', report("shop.py:9")[:-40], b"[" * 5_000,
        report("../../etc/passwd:1"), gzip.compress(report("shop.py:9"))[:-20],
    ],
    ids=["empty", "null", "object", "list", "no text", "half", "cut", "deep", "outside", "half a gzip"],
)  # fmt: skip
def test_what_is_no_report_changes_nothing_and_is_told(send, content):
    send(report("shop.py:9"))
    before = (Import.objects.count(), Scan.objects.count(), statuses())
    answer = send(content, format="bandit")
    assert answer.status_code == 400, answer.content
    body = answer.json()
    assert len(body.get("errors", {}).get("file", [""])[0] or body["detail"]) > 20
    assert (Import.objects.count(), Scan.objects.count(), statuses()) == before


@pytest.mark.parametrize(
    ("more", "field"),
    [({"format": "nothing"}, "format"), ({"to": "x"}, "asset"), ({"closes": "no"}, "closes")],
)
def test_strict_input(send, more, field):
    answer = send(report(), **more)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])


def test_an_upload_takes_no_idempotency_key(asset, dev, client_for):
    file = SimpleUploadedFile("r.json", report("shop.py:9"))
    data = {"asset": str(asset.uid), "file": file}
    answer = client_for(dev).post("/api/v1/imports", data, headers={"idempotency-key": "one"})
    assert (answer.status_code, "takes no Idempotency-Key" in answer.json()["detail"]) == (400, True)
    assert not Import.objects.exists()


def test_by_the_command(asset, tmp_path, capsys):
    file = tmp_path / "bandit.json"
    file.write_bytes(report("shop.py:9"))
    call_command("import_report", str(file), "--asset", asset.location, "--dry-run")
    assert "1 would be new" in capsys.readouterr().out
    call_command("import_report", str(file), "--asset", str(asset.uid), "--json")
    assert json.loads(capsys.readouterr().out)["new"] == 1
    assert Import.objects.get().name == "bandit.json"
