"""What is no report: an error that names line or field, never "no findings" and never a traceback."""

import gzip
import io
import json

import pytest

from scanning import reports
from scanning.reports import stream
from tests.scanning.reports.shapes import SHAPES, written
from tests.scanning.reports.test_formats import read

FOREIGN = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"3",
    b'"x"',
    b"\xff\xfe{\0}\0",
    b"<html>",
    b"{'a': 1}",
    b"\x1f\x8bno",
    b"[1, NaN]",
]
EMPTY_IS_FINE = {  # what a tool itself writes where it found nothing
    ("osv_scanner", b""), ("gitleaks", b"null"), ("gitleaks", b"[]"), ("trivy", b"null"), ("trivy", b"[]"),
    ("pip_audit", b"[]"), ("safety", b"[]"), ("checkov", b"[]"),
}  # fmt: skip


@pytest.mark.parametrize("content", FOREIGN)
@pytest.mark.parametrize("format", [*SHAPES, ""])
def test_what_is_no_report_is_refused(format, content):
    if (format, content) in EMPTY_IS_FINE:
        assert read(content, format)[0].findings == []
        return
    with pytest.raises(reports.UnreadableReport) as refused:
        read(content, format)
    assert str(refused.value).endswith((".", "?"))


@pytest.mark.parametrize("format", SHAPES)
def test_a_report_cut_anywhere_is_refused(format):
    whole = written(format)
    for end in range(1, len(whole) - 1, 7):
        with pytest.raises(reports.UnreadableReport, match=r"line|Line|report"):
            read(whole[:end], format)


@pytest.mark.parametrize("format", SHAPES)
def test_each_field_of_another_kind_is_told_or_does_no_harm(format):
    """A property: whatever stands in the place of any value, the answer is runs or a sentence."""
    for path in _paths(SHAPES[format]):
        for odd in (None, -1, 1.5, 10**30, "", "x", "9" * 5000 + " x", "\x1b[2J\u202e", [], [{}], {}, {"a": []}, True):
            body = json.loads(written(format))
            at = body
            for step in path[:-1]:
                at = at[step]
            at[path[-1]] = odd
            try:
                runs = read(body, format)
            except reports.UnreadableReport as error:
                assert str(error).isprintable()
            else:
                assert all(found.rule.isprintable() for run in runs for found in run.findings)


def _paths(value, path=()):
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from _paths(inner, (*path, key))


def test_the_line_and_field_are_named():
    body = written("bandit").replace(b'"line_number": 3', b'"line_number": "three"')
    with pytest.raises(
        reports.UnreadableReport, match=r"results\[0\]\.line_number is a text, a whole number was expected"
    ):
        read(body)
    with pytest.raises(reports.UnreadableReport, match=r"^Line 3, column 9"):
        read(b'{\n"results": [],\n"error" [] }', "bandit")
    with pytest.raises(reports.UnreadableReport, match=r'"results" stands twice'):
        read(b'{"results": [], "errors": [], "results": []}', "semgrep")
    with pytest.raises(reports.UnreadableReport, match="not UTF-8"):
        read(written("generic").replace(b"Orders", b"\xe4\xff"))


def test_what_is_too_deep_or_too_large_is_refused(monkeypatch):
    deep = b'{"results": [], "errors": [], "x": ' + b"[" * 100_000
    with pytest.raises(reports.UnreadableReport, match="deeper than 64"):
        read(deep, "semgrep")
    monkeypatch.setattr(stream, "MAX_BYTES", 1_000_000)
    with pytest.raises(reports.UnreadableReport, match="larger than 1 MB"):
        read(gzip.compress(b" " * 1_000_001))
    monkeypatch.setattr(stream, "MAX_FINDINGS", 1)
    with pytest.raises(reports.UnreadableReport, match=r"more than 1 of"):
        read({"results": [{}, {}], "errors": []}, "osv_scanner")


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\..\\x", "file:///etc/passwd", "C:\\Windows\\x"]
)
@pytest.mark.parametrize("format", ["semgrep", "bandit", "gitleaks", "detect_secrets", "generic", "sarif"])
def test_a_path_outside_the_asset_is_named(format, path):
    inside = '"my%20shop.py"' if format == "sarif" else '"./shop.py"' if format == "bandit" else '"shop.py"'
    body = written(format).decode().replace(f": {inside}", f": {json.dumps(path)}").encode()
    with pytest.raises(reports.UnreadableReport, match=r"outside the asset"):
        read(body, format)


def test_absolute_paths_need_one_base():
    def at(*paths: str, root: str = "") -> list[str]:
        rows = [{"rule": "r", "title": "t", "severity": "low", "path": path} for path in paths]
        return [found.path for found in read({"tool": "t", "findings": rows}, root=root)[0].findings]

    assert at("/home/ci/shop/a.py", root="/home/ci/shop/") == ["a.py"]
    assert at("/home/ci/shop/a.py", "/home/ci/shop/b.py") == ["home/ci/shop/a.py", "home/ci/shop/b.py"]
    assert at("./a.py", "b//c.py", "d/../e.py") == ["a.py", "b//c.py", "e.py"]
    with pytest.raises(reports.UnreadableReport, match=r"findings\[1\]\.path"):
        at("a.py", "/home/ci/b.py")


def test_small_reports_that_would_grow_or_take_long():
    """Placeholders in placeholders, numbers without end, long words: each in the time of its length."""
    body = json.loads(written("sarif"))
    result = body["runs"][0]["results"][0]
    result["message"] = {"text": "{0}" * 3000, "arguments": ["{1}" * 300, "{2}" * 300, "{3}" * 300]}
    assert len(read(body)[0].findings[0].description) <= 20_000
    body = written("bandit").replace(b'"line_number": 3', b'"line_number": 1e999999999')
    with pytest.raises(reports.UnreadableReport, match=r"results\[0\]\.line_number is out of range"):
        read(body)
    body = written("bandit").replace(b"Possible hardcoded password", b"a" * 1_000_000)
    assert len(read(body)[0].findings) == 1
    body = written("generic").replace(b'"title": "', b'"title": "' + b"\\\\" * 1_000_000)
    with pytest.raises(reports.UnreadableReport, match="cut off"):
        read(body[:-2])


def test_one_element_with_many_findings_counts_them_all(monkeypatch):
    monkeypatch.setattr(stream, "MAX_FINDINGS", 2)
    body = json.loads(written("cyclonedx"))
    body["vulnerabilities"][0]["affects"] *= 3
    with pytest.raises(reports.UnreadableReport, match="more than 2 findings"):
        read(body)


def test_names_of_files_that_are_no_utf_8_pass_at_any_cut(monkeypatch):
    body = written("bandit").replace(b"./shop.py", b"./\\\\\\udcff\\ud83d\\ude00\\\\udcff.py")
    for chunk in range(1, 40):
        monkeypatch.setattr(stream, "CHUNK", chunk)
        assert read(body)[0].files == {"\\\udcff\U0001f600\\udcff.py"}


def test_a_reader_that_gives_little_at_a_time(monkeypatch):
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 7) if size > 0 else 7)

    assert len(reports.read(Slow(gzip.compress(written("sarif"))))) == 2
