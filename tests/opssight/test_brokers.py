"""Which brokers are taken, how they are spoken to, and what a broker that is away costs."""

import runpy
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kombu import Connection
from kombu.exceptions import OperationalError

from opssight.settings import env
from scanning.inventory import asset_at
from scanning.models import Scan, ScanState
from scanning.services import request_scan


@pytest.fixture
def settings_for(monkeypatch) -> Callable[[str], dict[str, Any]]:
    """The settings as a start with that broker would have them."""

    def load(url: str) -> dict[str, Any]:
        monkeypatch.setattr(env, "BROKER_URL", url)
        return runpy.run_path(str(env.BASE_DIR / "opssight" / "settings" / "base.py"))

    return load


@pytest.mark.parametrize(
    "url",
    [
        "redsi://user:geheim@host/0",
        "memory://",
        "filesystem://",
        "redis:///0",
        "redis://user:gehe/im@host/0",
        "redis://host:notaport/0",
        "amqp://user:geheim@host:99999//",
        "localhost:6379",
    ],
)
def test_a_broker_that_can_not_be_used_stops_the_start_with_one_line(url, monkeypatch, capfd):
    monkeypatch.setenv("OPSSIGHT_BROKER_URL", url)
    with pytest.raises(SystemExit) as stop:
        env.broker("OPSSIGHT_BROKER_URL")
    said = capfd.readouterr().err
    assert stop.value.code == 2
    assert said.startswith("opssight: OPSSIGHT_BROKER_URL: ")
    assert said.count("\n") == 1
    assert "gehe" not in said


def test_addresses_may_come_from_files(monkeypatch, tmp_path):
    (tmp_path / "broker").write_text("redis://:secret@broker.example:6380/3\n")
    (tmp_path / "database").write_text("postgresql://app:p%40ss@db.example:5433/ops\n")
    for name in ("BROKER", "DATABASE"):
        monkeypatch.delenv(f"OPSSIGHT_{name}_URL", raising=False)
        monkeypatch.setenv(f"OPSSIGHT_{name}_URL_FILE", str(tmp_path / name.lower()))
    assert env.broker("OPSSIGHT_BROKER_URL") == "redis://:secret@broker.example:6380/3"
    database = env.database("OPSSIGHT_DATABASE_URL")
    assert (database["HOST"], database["PORT"], database["PASSWORD"]) == ("db.example", 5433, "p@ss")


@pytest.mark.parametrize("scheme", ["redis", "rediss", "amqp", "amqps"])
def test_each_broker_is_spoken_to_in_its_own_way(settings_for, scheme):
    celery = settings_for(f"{scheme}://broker.example")
    options = celery["CELERY_BROKER_TRANSPORT_OPTIONS"]
    assert ("CELERY_BROKER_USE_SSL" in celery) == (scheme in ("rediss", "amqps"))
    if scheme.startswith("redis"):
        assert options["unacked_restore_throttle"] == 1
        assert 0 < options["socket_timeout"] <= 10
    else:
        assert celery["CELERY_TASK_DEFAULT_QUEUE_TYPE"] == celery["CELERY_TASK_CREATE_MISSING_QUEUE_TYPE"] == "quorum"
        assert "data_folder_in" not in options


@pytest.fixture(scope="module")
def tls(tmp_path_factory) -> Iterator[tuple[int, Path, list[bytes]]]:
    """A server named `localhost` with a certificate of its own: its port, the certificate, what it was told."""
    folder = tmp_path_factory.mktemp("tls")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert").write_bytes(certificate.public_bytes(pem))
    (folder / "key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context, told = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    context.load_cert_chain(folder / "cert", folder / "key")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    plain, _ = server.accept()
                except OSError:
                    return  # closed: the end
                with plain:
                    plain.settimeout(5)
                    try:
                        with context.wrap_socket(plain, server_side=True) as secured:
                            told.append(secured.recv(100))
                    except OSError:
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], folder / "cert", told
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
@pytest.mark.parametrize(
    ("host", "trusted", "heard"), [("localhost", True, True), ("localhost", False, False), ("127.0.0.1", True, False)]
)
def test_nothing_is_said_to_a_broker_whose_certificate_is_not_right(
    settings_for, tls, monkeypatch, scheme, host, trusted, heard
):
    port, certificate, told = tls
    told.clear()
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    celery = settings_for(f"{scheme}://u:geheim@{host}:{port}")
    connection = Connection(
        celery["CELERY_BROKER_URL"], ssl=celery["CELERY_BROKER_USE_SSL"], connect_timeout=5,
        transport_options=celery["CELERY_BROKER_TRANSPORT_OPTIONS"],
    )  # fmt: skip
    with connection, pytest.raises(OperationalError) as failed:
        connection.ensure_connection(max_retries=1, interval_start=0)
    assert bool(b"".join(told)) == heard
    assert ("CERTIFICATE_VERIFY_FAILED" in str(failed.value)) != heard


def test_a_broker_that_is_away_costs_the_job_a_delay_and_the_caller_nothing(
    db, tmp_path, monkeypatch, django_capture_on_commit_callbacks
):
    sent = []

    def away(task: str, **kwargs: object) -> None:
        sent.append(task)
        raise OperationalError("connection refused")

    monkeypatch.setattr(current_app, "send_task", away)
    with django_capture_on_commit_callbacks(execute=True):
        scan = request_scan(asset_at(tmp_path))
    assert sent == [Scan.task]
    assert Scan.objects.get(pk=scan.pk).state == ScanState.QUEUED
