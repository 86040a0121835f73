"""The page of the scanners, and installing one: by a click, by the API, by the command."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from django.db import transaction
from django.test import Client

from accounts.tokens.services import issue_token
from audit.models import AuditEntry
from opssight.kernel.jobs import LEASE, requeue_overdue
from scanning.inventory import asset_at
from scanning.scanners import toolbox, vendors
from scanning.services import request_scan, run_scan
from scanning.tools import services
from scanning.tools.models import Installation
from tests.conftest import make_person

pytestmark = pytest.mark.django_db
PROGRAM = b"#!/bin/sh\necho 8.30.1\n"
UV = """#!/bin/sh
case "$1" in
venv) for last; do :; done; mkdir -p "$last/bin" ;;
*) {} ;;
esac
"""


@pytest.fixture
def home(monkeypatch, tmp_path) -> Path:
    """A data folder without any tool, and a PATH without any vendor's program."""
    monkeypatch.setattr(toolbox.env, "HOME", tmp_path / "home")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.delenv("UV", raising=False)
    return tmp_path / "home"


@pytest.fixture
def uv(home, tmp_path):
    """`uv("exit 1")`: an installer that makes a folder and then does this."""

    def put(script: str) -> None:
        path = tmp_path / "bin" / "uv"
        path.write_text(UV.format(script))
        path.chmod(0o755)

    return put


def works(name: str = "bandit") -> str:
    """What an installer does that installs: $6 is the Python of the tool's place."""
    return f'echo "#!/bin/sh" > "${{6%python}}{name}" && chmod +x "${{6%python}}{name}"'


@pytest.fixture
def officer(client_for) -> Client:
    return client_for(make_person("Ana", "officer"))


def page(client: Client) -> str:
    return client.get("/scanners").content.decode()


def row(client: Client, name: str) -> str:
    return next(part for part in page(client).split("<tr>") if f'<th scope="row">{name}<' in part)


def finished() -> Installation:
    for job in Installation.objects.order_by("pk"):
        services.run_installation(job.pk)
    return Installation.objects.latest("pk")


def events() -> list[str]:
    return list(AuditEntry.objects.filter(event__startswith="scanners:").order_by("id").values_list("event", flat=True))


def left(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "scanners").iterdir() if path.is_dir())


def test_a_click_becomes_one_job_that_a_worker_does(officer, uv, home):
    uv(works())
    assert "Not installed" in row(officer, "bandit")
    assert "Run: make install" in row(officer, "bandit")
    for _ in range(2):
        answer = officer.post("/scanners/bandit/install")
        assert (answer.status_code, answer["Location"]) == (302, "/scanners")
    assert Installation.objects.count() == 1
    assert "waits for a worker" in row(officer, "bandit")
    assert "/scanners/bandit/install" not in page(officer)
    job = finished()
    assert (job.state, job.reason, job.step) == ("completed", "", "")
    assert left(home) == ["bandit-1.9.4"]
    assert "Ready" in row(officer, "bandit")
    assert "OpsSight" in row(officer, "bandit")
    assert events() == ["scanners:install_requested", "scanners:installed"]
    assert AuditEntry.objects.get(event="scanners:install_requested").actor_label
    services.run_installation(job.pk)  # the message came twice
    assert events()[2:] == []
    officer.post("/scanners/bandit/install")
    assert "is installed already" in page(officer)
    assert Installation.objects.count() == 1


def test_a_failing_installer_says_so_and_leaves_nothing_half(officer, uv, home):
    uv('echo "no such package <b>bandit</b>"; touch "${6%python}bandit"; exit 3')
    officer.post("/scanners/bandit/install")
    job = finished()
    assert job.state == "failed"
    assert "exit code 3" in job.reason
    assert "no such package" in job.reason
    assert left(home) == []
    shown = row(officer, "bandit")
    assert "no such package &lt;b&gt;" in shown
    assert "Not installed" in shown
    assert events() == ["scanners:install_requested", "scanners:install_failed"]
    uv(works())
    officer.post("/scanners/bandit/install")
    assert finished().state == "completed"
    assert "no such package" not in page(officer)


def test_an_installer_knows_none_of_our_secrets(officer, uv, monkeypatch):
    monkeypatch.setenv("OPSSIGHT_SECRET_KEY", "not for installers")
    uv("env; exit 1")
    officer.post("/scanners/bandit/install")
    assert "PATH=" in finished().reason
    assert "not for installers" not in Installation.objects.get().reason


def test_a_worker_that_died_is_followed_by_another(officer, uv, home, django_capture_on_commit_callbacks):
    uv(works())
    officer.post("/scanners/bandit/install")
    job = Installation.claim(Installation.objects.get().pk)
    (home / "scanners" / "bandit-1.9.4" / "bin").mkdir(parents=True)  # what it left
    services.run_installation(job.pk)
    assert Installation.objects.get().state == "running"  # it is still held
    requeue_overdue(at=job.lease_until + LEASE)
    job.hold(lease_until=job.started_at)
    assert finished().state == "completed"


def test_another_pin_takes_the_place_of_the_one_before(officer, uv, home, monkeypatch, tmp_path):
    uv(works())
    officer.post("/scanners/bandit/install")
    finished()
    pins = tmp_path / "pins"
    pins.mkdir()
    for path in toolbox.PINS.glob("*.txt"):
        (pins / path.name).write_text(path.read_text().replace("bandit==1.9.4", "bandit==1.9.9"))
    monkeypatch.setattr(toolbox, "PINS", pins)
    assert "bandit 1.9.9 is not installed. There is bandit-1.9.4, of before." in row(officer, "bandit")
    officer.post("/scanners/bandit/install")
    assert finished().version == "1.9.9"
    assert left(home) == ["bandit-1.9.9"]
    toolbox.remove("bandit")
    assert left(home) == []


def test_two_who_ask_at_the_same_moment_get_one_job(olga, uv, monkeypatch):
    first = services.request_installation("bandit", by=olga)
    answers = iter([None, first])
    monkeypatch.setattr(services, "_under_way", lambda name: next(answers))
    with transaction.atomic():
        assert services.request_installation("bandit", by=olga) == first
    assert Installation.objects.count() == 1


def test_who_may_look_and_who_may_install(client_for, uv, dev, adam, eve):
    for person, looks in ((dev, 403), (adam, 200), (eve, 403)):
        client = client_for(person)
        assert client.get("/scanners").status_code == looks
        assert client.post("/scanners/bandit/install").status_code == 403
    assert "<form" not in page(client_for(adam)).partition("<table")[2].partition("</table>")[0]
    assert not Installation.objects.exists()


def test_the_page_tells_the_last_run_and_where_a_program_is_from(officer, home, tmp_path):
    run_scan(request_scan(asset_at(tmp_path), dispatch=False).pk)
    assert "Not installed" in row(officer, "bandit").partition("Last")[0]
    assert "/scans/" in row(officer, "bandit")
    (tmp_path / "bin" / "trivy").write_text("#!/bin/sh\necho 'Version: 0.59.1'\n")
    (tmp_path / "bin" / "trivy").chmod(0o755)
    assert "0.59.1" in row(officer, "trivy")
    assert "the PATH" in row(officer, "trivy")
    assert "pinned: 0.69.3" in row(officer, "trivy")


def test_old_advisories_are_told(officer, home, settings, tmp_path):
    (tmp_path / "bin" / "trivy").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "trivy").chmod(0o755)
    settings.TRIVY_CACHE = str(tmp_path / "cache")
    assert "which holds no db/metadata.json" in row(officer, "trivy")
    assert "Not ready" in row(officer, "trivy")
    (tmp_path / "cache" / "db").mkdir(parents=True)
    (tmp_path / "cache" / "db" / "metadata.json").write_text('{"UpdatedAt": "2026-01-02T03:04:05.123456789Z"}')
    assert "Ready" in row(officer, "trivy")
    assert "2026-01-02" in row(officer, "trivy")
    assert "<b>old</b>" in row(officer, "trivy")


def test_the_api_lists_and_installs(olga, uv, home):
    uv(works())
    token = issue_token(olga, name="t", scopes=["scanners:read", "scanners:install"], days=1)[1]
    ask = Client(headers={"authorization": f"Bearer {token}"})
    tools = ask.get("/api/v1/scanners").json()["results"]
    assert [tool["name"] for tool in tools][:2] == ["bandit", "checkov"]
    assert tools[0]["state"] == "not_installed"
    asked = ask.post("/api/v1/scanners/bandit/install")
    assert (asked.status_code, asked["Location"]) == (202, "/api/v1/scanners/bandit")
    assert asked.json()["installation"]["state"] == "queued"
    finished()
    tool = ask.get("/api/v1/scanners/bandit").json()
    assert (tool["state"], tool["version"], tool["source"]) == ("ready", "1.9.4", "own")
    assert ask.post("/api/v1/scanners/bandit/install").status_code == 409
    assert ask.post("/api/v1/scanners/nonsense/install").status_code == 404
    assert ask.get("/api/v1/scanners/nonsense").status_code == 404
    assert ask.get("/api/v1/scanners?color=red").status_code == 400


# --- programs of vendors ------------------------------------------------------------------------------------------


def packed(*members: tuple[str, bytes | None]) -> bytes:
    """An archive; a member without content is a link to /bin/sh."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/bin/sh"
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content or b""))
    return file.getvalue()


@pytest.fixture
def published(monkeypatch, settings, tmp_path):
    """`published(bytes)`: these are gitleaks' archive, and lie in a file of the operator's."""

    def put(content: bytes, digest: str = "") -> None:
        (tmp_path / "gitleaks.tar.gz").write_bytes(content)
        archive = ("gitleaks.tar.gz", digest or hashlib.sha256(content).hexdigest())
        release = vendors.Release("8.30.1", "https://127.0.0.1:9/", dict.fromkeys(("x86_64", "aarch64"), archive))
        monkeypatch.setitem(vendors.RELEASES, "gitleaks", release)
        settings.SCANNER_ARCHIVES = {"gitleaks": str(tmp_path / "gitleaks.tar.gz"), "trivy": ""}

    return put


def test_a_vendors_program_comes_from_the_operators_file(officer, home, published):
    assert "OPSSIGHT_GITLEAKS_ARCHIVE" in row(officer, "gitleaks")
    officer.post("/scanners/gitleaks/install")
    assert not Installation.objects.exists()
    published(packed(("README.md", b"x"), ("gitleaks", PROGRAM), ("../../evil", b"x")))
    officer.post("/scanners/gitleaks/install")
    assert finished().state == "completed"
    assert toolbox.program("gitleaks") == home / "scanners" / "gitleaks-8.30.1" / "bin" / "gitleaks"
    inside = {path.name for path in (home / "scanners" / "gitleaks-8.30.1").rglob("*")}
    assert inside == {"bin", "complete", "gitleaks"}
    assert "Ready" in row(officer, "gitleaks")


@pytest.mark.parametrize(
    ("content", "digest", "why"),
    [
        (packed(("gitleaks", PROGRAM)), "0" * 64, "its SHA-256 is"),
        (packed(("gitleaks", None)), "", "holds no program called gitleaks"),
        (packed(("../gitleaks", PROGRAM)), "", "can't be unpacked"),
        (packed(("gitleaks", PROGRAM * 500))[:60], "", "can't be unpacked"),
        (b"not an archive", "", "can't be unpacked"),
        (b"", "", "can't be unpacked"),
    ],
    ids=["digest", "without", "outside", "cut", "none", "empty"],
)
def test_an_archive_that_is_not_what_was_published_is_not_unpacked(officer, home, published, content, digest, why):
    published(content, digest)
    officer.post("/scanners/gitleaks/install")
    job = finished()
    assert job.state == "failed"
    assert why in job.reason
    assert left(home) == []


def test_nothing_is_downloaded_without_leave_and_then_by_the_guarded_client(officer, home, published, settings):
    published(packed(("gitleaks", PROGRAM)))
    settings.SCANNER_ARCHIVES = {"gitleaks": "", "trivy": ""}
    officer.post("/scanners/gitleaks/install")
    assert not Installation.objects.exists()
    settings.SCANNER_DOWNLOADS = True
    officer.post("/scanners/gitleaks/install")
    assert "no public address" in finished().reason
    assert left(home) == []


def test_the_command_installs_and_says_what_is_wrong(home, published, capsys):
    published(packed(("gitleaks", PROGRAM)), "0" * 64)
    assert toolbox.main(["install", "gitleaks"]) == 3
    assert "its SHA-256 is" in capsys.readouterr().err
    published(packed(("gitleaks", PROGRAM)))
    assert toolbox.main(["install", "gitleaks"]) == 0
    assert toolbox.version("gitleaks") == "8.30.1"
    assert toolbox.main(["remove", "gitleaks"]) == 0
    assert left(home) == []
    assert toolbox.main(["install", "nonsense"]) == 2
