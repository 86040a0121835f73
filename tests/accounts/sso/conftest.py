import ipaddress
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from accounts.sso.models import Provider
from accounts.sso.services import save_provider
from opssight.settings.env import Outside
from tests.accounts.sso.broken import Broken
from tests.services import missing

HERE = Path(__file__).parent
SECRET = "a-secret-of-the-tests"
TOOLS = Path(os.environ.get("OPSSIGHT_SSO_TOOLS") or Path(settings.BASE_DIR) / "var" / "tools" / "sso")
REAL, LOCAL = "http://localhost:8000/sign-in/with/real", "http://localhost:8000"


def make_provider(issuer: str, **more: Any) -> Provider:
    values = {"slug": "acme", "name": "Acme ID", "issuer": issuer, "client_id": "opssight", **more}
    return save_provider(Provider(**values), secret=SECRET)


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.OUTGOING_ALLOW = Outside(networks=(ipaddress.ip_network("127.0.0.0/8"),), hosts=frozenset())


@pytest.fixture(scope="session")
def real_issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real provider, as npm has it."""
    node = shutil.which("node")
    if node is None:
        missing("there is no node on the path; on Debian: apt install nodejs npm")
    if not (TOOLS / "node_modules" / "oidc-provider").exists():
        missing("oidc-provider is not installed: make oidc")
    # Beside the modules, since that is where node looks for them.
    program = TOOLS / "provider.mjs"
    if not program.exists() or program.read_bytes() != (HERE / "provider.mjs").read_bytes():
        shutil.copyfile(HERE / "provider.mjs", program)
    log = tmp_path_factory.mktemp("oidc") / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [node, str(program), f"{REAL}/back", f"{REAL}/logout", f"{LOCAL}/signed-out"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True,
        ) as process,
    ):  # fmt: skip
        assert process.stdout
        assert process.stdin
        port = ""
        for line in process.stdout:
            if (port := line.strip()).isdigit():
                break
        assert port.isdigit(), log.read_text()
        yield f"http://127.0.0.1:{port}"
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture
def broken() -> Iterator[Broken]:
    """One that says whatever a test wants it to."""
    server = Broken()
    yield server
    server.close()
