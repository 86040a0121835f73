"""A server that is slow, away, another, or dies in the midst; and certificates."""

import http.client
import json
import ssl
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import pytest

from scanning.imports.models import Import
from scanning.models import Finding, Scan, ScanState
from tests.conftest import put
from tests.scanning.client.conftest import answer, between, finding, report

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_answer_that_is_lost_doubles_no_import_and_hides_nothing_new(ci_on, asset, way):
    ci_on.file("r.json", report(finding(1)))
    way.on("POST", "/imports", "lost")
    done = ci_on("upload", "--asset", asset.name, "r.json", "--fail-on", "high", "--new-only")
    assert done.code == 1, done.err
    assert (Import.objects.count(), way.asked("POST", "/imports")) == (1, 1)


@pytest.mark.parametrize("what", ["drop", answer(503), answer(502), answer(504)])
def test_what_never_arrived_is_sent_again(ci_on, asset, way, what):
    ci_on.file("r.json", report(finding(1)))
    way.on("POST", "/imports", what)
    done = ci_on("upload", "--asset", asset.name, "r.json", "--fail-on", "high", "--new-only")
    assert done.code == 1, done.err
    assert (Import.objects.count(), way.asked("POST", "/imports")) == (1, 2)


def test_two_tries_that_both_had_an_effect_count_as_the_first(ci_on, asset, way):
    """The server says that it has nothing, and takes the report in a moment later."""
    ci_on.file("r.json", report(finding(1)))
    way.on("POST", "/imports", "lost")
    way.on("GET", "/imports?", answer(200, b'{"next": null, "results": []}', "application/json"))
    done = ci_on("upload", "--asset", asset.name, "r.json", "--fail-on", "high", "--new-only")
    assert (done.code, Import.objects.count()) == (1, 2), done.err
    assert done.out.count("shop.py:1") == 1


def test_a_request_for_a_scan_whose_answer_is_lost_is_one_scan(ci_on, asset, way, have):
    have("bandit")
    Path(asset.location, "app.py").write_text("import os\n")
    way.on("POST", "/scans", "lost")
    done = ci_on("scan", "--asset", asset.name, "--fail-on", "high")
    assert (done.code, Scan.objects.count(), way.asked("POST", "/scans")) == (0, 1, 2), done.err


def test_a_scan_that_was_under_way_is_followed_by_another(ci_on, asset, way, have, runs_at_once):
    have("bandit")
    Path(asset.location, "app.py").write_text("import os\n")
    old = Scan.objects.create(asset=asset, scanner="bandit", state=ScanState.RUNNING, started_at=datetime.now(UTC))

    def ends(handler) -> None:
        put(Scan.objects.filter(pk=old.pk), state=ScanState.COMPLETED, finished_at=datetime.now(UTC))
        answer(503)(handler)

    way.on("GET", f"/scans/{old.uid}", ends)
    done = ci_on("scan", "--asset", asset.name, "--format", "json")
    assert done.code == 0, done.err
    assert [row["scan"] for row in done.json["scanners"]] == [str(Scan.objects.exclude(pk=old.pk).get().uid)]


@pytest.mark.parametrize("what", ["drop", "cut", answer(502), answer(429, Retry_After="1")])
def test_trouble_that_passes_is_waited_for(ci_on, asset, way, what):
    ci_on.file("r.json", report(finding(1)))
    for path in ("/assets", "/scans/", "/findings"):
        way.on("GET", path, what)
    assert ci_on("upload", "--asset", asset.name, "r.json", "--fail-on", "high").code == 1


def test_when_to_come_back_is_said_in_seconds_or_as_a_date(ci_on, asset, way):
    ci_on.file("r.json", report())
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    way.on("GET", "/assets", answer(429, Retry_After=at))
    way.on("GET", "/scans/", answer(429, Retry_After="2"))
    began = monotonic()
    assert ci_on("upload", "--asset", asset.name, "r.json").code == 0
    assert monotonic() - began > 3.5
    way.on("GET", "/assets", answer(429, Retry_After="4000"))
    done = ci_on("upload", "--asset", asset.name, "r.json", "--timeout", 20)
    assert (done.code, "429" in done.err) == (4, True)


@pytest.mark.parametrize(
    "what",
    [
        answer(200, b"<html><h1>Sign in</h1></html>"), answer(200, b"", "application/json"),
        answer(200, b"[]", "application/json"), answer(200, b"{}", "application/json"),
        answer(200, b"[" * 100_000, "application/json"), answer(200, b'{"uid": NaN}', "application/json"),
        answer(200, b'{"uid": ' + b"9" * 5000 + b"}", "application/json"), answer(200, b"\xff\xfe", "application/json"),
        answer(302, Location="https://elsewhere.example/"), answer(301, Location="/api/v1/assets"),
        answer(500, b"boom"), answer(418), answer(403, b"<html>blocked</html>"), answer(204),
        answer(200, b'{"next": null}', "application/json"), answer(200, b'{"results": []}', "application/json"),
        answer(200, b'{"results": [], "next": "https://elsewhere.example/?cursor="}', "application/json"),
        answer(200, b'{"results": [null], "next": null}', "application/json"),
    ],
)  # fmt: skip
def test_what_is_no_answer_of_ours_is_no_pass(ci_on, asset, way, what):
    ci_on.file("r.json", report())
    way.on("GET", "/assets", what, times=99)
    done = ci_on("upload", "--asset", asset.name, "r.json", "--retries", 1)
    assert done.code == 4, done.err
    assert len(done.err.splitlines()) < 9
    way.faults.clear()
    way.on("GET", "/findings", what, times=99)
    ci_on.file("r.json", report(finding(1)))
    assert ci_on("upload", "--asset", asset.name, "r.json", "--retries", 1).code == 4


def test_pages_that_go_round_in_a_circle_end(ci_on, asset, way):
    page = {"results": [], "next": "http://x/?cursor=abc"}
    way.on("GET", "/assets", answer(200, json.dumps(page).encode(), "application/json"), times=99)
    done = ci_on("scan", "--asset", asset.name)
    assert (done.code, way.asked("GET", "/assets")) == (4, 2)


def test_many_findings_come_page_by_page_from_the_server_that_was_asked(ci_on, asset, way):
    ci_on.file("r.json", report(*(finding(n, "low") for n in range(1, 452))))

    def turned(handler) -> None:  # as a proxy that names itself wrongly
        with closing(http.client.HTTPConnection(way.target.removeprefix("http://"))) as onward:
            onward.request("GET", handler.path, headers={"Authorization": handler.headers["Authorization"]})
            page = json.loads(onward.getresponse().read())
        page["next"] = page["next"] and page["next"].replace("http://", "https://elsewhere.example/")
        answer(200, json.dumps(page).encode(), "application/json")(handler)

    way.on("GET", "/findings", turned, times=99)
    done = ci_on("upload", "--asset", asset.name, "r.json", "--format", "json")
    assert (done.code, len(done.json["findings"]), Finding.objects.count()) == (0, 451, 451), done.err
    assert way.asked("GET", "/findings") == 6


def test_nobody_there_and_a_server_that_says_nothing(ci_on, asset, way):
    began = monotonic()
    assert ci_on("scan", "--asset", asset.name, "--retries", 1, OPSSIGHT_URL="http://127.0.0.1:9").code == 4
    way.on("GET", "/assets", lambda handler: sleep(30))
    done = ci_on("scan", "--asset", asset.name, "--timeout", 2)
    assert done.code == 4

    def drops(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n")
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            sleep(0.1)

    way.on("GET", "/assets", drops)
    assert ci_on("scan", "--asset", asset.name, "--timeout", 2).code == 4
    assert monotonic() - began < 20


def test_the_token_goes_to_no_other_host(ci_on, asset, way):
    for elsewhere in between(way.target):
        for code in (301, 302, 303, 307, 308):
            way.on("GET", "/assets", answer(code, Location=elsewhere.url + "/api/v1/assets"))
            assert ci_on("scan", "--asset", asset.name).code == 4
        assert elsewhere.seen == []


def test_a_server_that_dies_in_the_midst_of_an_upload(ci_on, asset, way):
    ci_on.file("r.json", report(finding(1)))
    way.on("POST", "/imports", "drop", times=99)
    done = ci_on("upload", "--asset", asset.name, "r.json", "--retries", 2, "--format", "junit", "-o", "j.xml")
    assert done.code == 4
    assert "<error" in (ci_on.folder / "j.xml").read_text()
    assert not Import.objects.exists()


# --- certificates ---


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


def test_a_certificate_must_hold_and_be_for_that_name(ci, asset, live_server, tmp_path):
    ci.file("r.json", report())
    for name, ca, expected in (
        ("localhost", "", 4), ("localhost", "localhost.pem", 0), ("elsewhere.example", "elsewhere.example.pem", 4),
    ):  # fmt: skip
        key, cert = certificate(ci.folder, name)
        for plain in between(live_server.url):

            class Onward(BaseHTTPRequestHandler):
                to = plain.url

                def do(self) -> None:
                    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    with closing(http.client.HTTPConnection(self.to.removeprefix("http://"))) as onward:
                        onward.request(self.command, self.path, body, {**dict(self.headers), "Connection": "close"})
                        said = onward.getresponse()
                        answer(said.status, said.read(), said.headers["Content-Type"])(self)

                do_GET = do_POST = do

                def log_message(self, *args: object) -> None:
                    pass

            server = HTTPServer(("127.0.0.1", 0), Onward)
            server.handle_error = lambda *args: None
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            Thread(target=server.serve_forever, daemon=True).start()
            url = f"https://localhost:{server.server_address[1]}"
            done = ci("upload", "--asset", asset.name, "r.json", *(["--ca", ca] if ca else []), OPSSIGHT_URL=url)
            server.shutdown()
            server.server_close()
            assert done.code == expected, done.err
            if expected:
                assert "certificate" in done.err
                assert plain.seen == []


def test_tls_asked_of_a_plain_server_and_the_other_way_round(ci, asset, live_server):
    done = ci("scan", "--asset", asset.name, "--retries", 0, OPSSIGHT_URL=live_server.url.replace("http", "https"))
    assert done.code == 4
