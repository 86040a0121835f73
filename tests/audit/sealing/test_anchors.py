"""Checkpoints on their way out: to a file, and to receivers of our own on loopback."""

import hmac
import json
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.management import call_command
from django.utils import timezone

from audit import verify
from audit.models import AuditEntry
from audit.sealing import anchors, keys
from audit.sealing.anchors import anchored, deliver
from audit.sealing.models import Checkpoint, Delivery
from audit.sealing.sealer import seal
from opssight.kernel.events import registry
from opssight.settings import env
from opssight.settings.env import outside

SECRET = "a secret that both ends of the wire know"


class Receiver:
    """Takes what comes with a right signature; `answer` is the status that it gives."""

    def __init__(self) -> None:
        self.answer, self.lines, self.refused = 204, [], 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                moment, made = (part.partition("=")[2] for part in self.headers["OpsSight-Signature"].split(","))
                expected = hmac.new(SECRET.encode(), moment.encode() + b"." + body, sha256).hexdigest()
                if not hmac.compare_digest(made, expected):
                    receiver.refused += 1
                    self.send_response(401)
                elif receiver.answer == 204:
                    receiver.lines += body.decode().splitlines()
                    self.send_response(204)
                else:
                    self.send_response(receiver.answer)
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook"

    def notes(self) -> list[str]:
        return [json.loads(line)["note"] for line in self.lines]


@pytest.fixture
def receiver(settings, monkeypatch) -> Iterator[Receiver]:
    receiver = Receiver()
    monkeypatch.setenv("OPSSIGHT_OUTGOING_ALLOW", "127.0.0.1")
    settings.OUTGOING_ALLOW = outside("OPSSIGHT_OUTGOING_ALLOW")
    settings.ANCHOR_URL, settings.ANCHOR_SECRET = receiver.url, SECRET
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def file(settings, tmp_path):
    settings.ANCHOR_FILE = str(tmp_path / "anchor.jsonl")
    return tmp_path / "anchor.jsonl"


def checkpoints(number: int) -> list[str]:
    """So many more, and the notes of all there are."""
    for _ in range(number):
        registry["findings:raised"].emit()
        seal()
    return list(Checkpoint.objects.order_by("pk").values_list("note", flat=True))


def notes_in(file) -> list[str]:
    return [json.loads(line)["note"] for line in file.read_text().splitlines()]


def later(monkeypatch, **delta: float) -> None:
    now = timezone.now() + timedelta(**delta)
    monkeypatch.setattr(anchors.timezone, "now", lambda: now)


def test_without_any_the_log_is_not_anchored(db, capsys):
    checkpoints(1)
    assert deliver() == 0
    assert anchored() == []
    with pytest.raises(SystemExit):
        call_command("seal_trail")
    assert "not anchored" in capsys.readouterr().out


def test_the_file_gets_every_checkpoint_once_in_order(db, file):
    notes = checkpoints(3)
    assert anchored()[0].at is None
    assert deliver() == len(notes)
    assert deliver() == 0
    assert notes_in(file) == notes
    assert file.stat().st_mode & 0o777 == 0o600
    notes = checkpoints(1)
    deliver()
    assert notes_in(file) == notes
    [state] = anchored()
    newest = Checkpoint.objects.newest()
    assert (state.size, state.checkpoint, state.waiting, state.error) == (newest.size, newest.pk, 0, "")
    assert state.at <= timezone.now()
    assert verify.Checkpoint.parse(notes[-1])[0].size == newest.size
    assert keys.is_ours(notes_in(file)[-1])


@pytest.mark.parametrize("rest", ["", '{"size": 7, "no', "\n\n"])
def test_a_deliverer_that_was_killed_after_writing_leaves_no_double_and_half_a_line_no_damage(db, file, rest):
    notes = checkpoints(2)
    deliver()
    Delivery.objects.update(at=None, next_try=timezone.now())  # as if it had not lived to note it
    with file.open("a") as open_file:
        open_file.write(rest)
    notes = checkpoints(1)
    deliver()
    lines = [line for line in file.read_text().splitlines() if line]
    assert [json.loads(line)["note"] for line in lines if line != rest] == notes


def test_a_file_that_can_not_be_written_is_said_and_caught_up_with(db, file, monkeypatch):
    file.mkdir()
    notes = checkpoints(2)
    assert deliver() == 0
    [state] = anchored()
    assert (state.waiting, state.size) == (len(notes), 0)
    assert "can't be written" in state.error
    with pytest.raises(SystemExit) as ended:
        call_command("seal_trail")
    assert ended.value.code == 1
    file.rmdir()
    later(monkeypatch, minutes=10)
    assert deliver() == len(notes)
    assert notes_in(file) == notes


def test_the_webhook_gets_signed_lines(db, receiver):
    notes = checkpoints(2)
    assert deliver() == len(notes)
    assert receiver.notes() == notes
    assert json.loads(receiver.lines[-1])["size"] == Checkpoint.objects.newest().size
    assert anchored()[0].anchor == "webhook 127.0.0.1"


def test_a_receiver_with_another_secret_takes_nothing(db, receiver, settings):
    settings.ANCHOR_SECRET = "some other secret"
    checkpoints(1)
    assert deliver() == 0
    assert (receiver.lines, receiver.refused) == ([], 1)
    assert "401" in anchored()[0].error


@pytest.mark.parametrize("answer", [302, 404, 500])
def test_what_is_not_taken_is_tried_again_with_patience_and_in_order(db, receiver, answer, monkeypatch):
    receiver.answer = answer
    notes = checkpoints(2)
    assert deliver() == 0
    assert f"answers {answer}" in anchored()[0].error
    receiver.answer = 204
    assert deliver() == 0  # its time has not come
    notes = checkpoints(1)
    assert deliver() == 0  # nor that of those behind it
    later(monkeypatch, seconds=6)
    assert deliver() == len(notes)
    assert receiver.notes() == notes


def test_waits_grow_to_five_minutes(db, receiver, monkeypatch):
    receiver.answer = 500
    checkpoints(1)
    now = timezone.now()
    waits = []
    for _ in range(9):
        monkeypatch.setattr(anchors.timezone, "now", lambda at=now: at)
        deliver()
        next_try = Delivery.objects.earliest("checkpoint").next_try
        waits.append((next_try - now).total_seconds())
        now = next_try
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_an_outage_is_an_event_once_and_its_end_another(db, receiver, monkeypatch):
    receiver.server.server_close()  # nobody there
    receiver.server.shutdown()
    notes = checkpoints(2)

    def told() -> list[str]:
        entries = AuditEntry.objects.filter(event__startswith="trail:anchor").order_by("pk")
        return [entry.event for entry in entries]

    deliver()
    assert told() == []  # not worth a word yet
    for minutes in (20, 40, 60):
        later(monkeypatch, minutes=minutes)
        deliver()
        assert told() == ["trail:anchor_failed"]
    again = Receiver()
    monkeypatch.setattr(anchors, "configured", lambda: [anchors.WebhookAnchor(again.url, SECRET)])
    later(monkeypatch, minutes=80)
    assert deliver() == len(notes)
    again.server.shutdown()
    again.server.server_close()
    assert told() == ["trail:anchor_failed", "trail:anchor_recovered"]
    assert again.notes() == notes


def test_a_long_outage_is_caught_up_with_in_batches(db, receiver, monkeypatch):
    monkeypatch.setattr(anchors, "BATCH", 3)
    notes = checkpoints(11)
    assert deliver() == len(notes)
    assert receiver.notes() == notes


def test_a_new_anchor_gets_all_there_are(db, file, receiver, settings):
    settings.ANCHOR_URL = ""
    checkpoints(2)
    deliver()
    settings.ANCHOR_URL = receiver.url
    notes = checkpoints(1)
    deliver()
    assert receiver.notes() == notes_in(file) == notes
    assert [state.anchor for state in anchored()] == [f"file {file}", "webhook 127.0.0.1"]


def test_one_anchor_that_fails_does_not_hold_up_the_other(db, file, receiver):
    file.mkdir()
    notes = checkpoints(1)
    deliver()
    assert receiver.notes() == notes


def test_who_is_in_the_middle_of_a_batch_has_it_alone(db, receiver, monkeypatch):
    notes = checkpoints(1)
    seen = []

    def meanwhile(self, batch):
        seen.append(deliver())
        original(self, batch)

    original = anchors.WebhookAnchor.send
    monkeypatch.setattr(anchors.WebhookAnchor, "send", meanwhile)
    assert deliver() == len(notes)
    assert seen == [0]
    assert receiver.notes() == notes


def test_no_anchor_inside_the_house_without_an_operators_word(db, receiver, settings, monkeypatch):
    monkeypatch.setenv("OPSSIGHT_OUTGOING_ALLOW", "")
    settings.OUTGOING_ALLOW = outside("OPSSIGHT_OUTGOING_ALLOW")
    checkpoints(1)
    assert deliver() == 0
    assert receiver.lines == []
    assert "OPSSIGHT_OUTGOING_ALLOW" in anchored()[0].error


def test_a_full_disk_is_a_failure(db, settings):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    settings.ANCHOR_FILE = "/dev/full"
    checkpoints(1)
    assert deliver() == 0
    assert anchored()[0].error


# --- a mailbox ------------------------------------------------------------------------------------------------------


@pytest.fixture
def mailbox(mail_server, settings):
    settings.ANCHOR_MAIL = "auditor@example.org"
    return mail_server


def test_a_mailbox_gets_the_newest_checkpoint_and_no_other_for_an_hour(db, mailbox, monkeypatch, tmp_path):
    notes = checkpoints(3)
    assert (deliver(), deliver()) == (1, 0)
    [mail] = mailbox.received
    assert mail["To"] == "auditor@example.org"
    text, attached = mail.get_payload()
    assert f"holds {Checkpoint.objects.newest().size:,} entries" in text.get_payload(decode=True).decode()
    line = attached.get_payload(decode=True)
    assert json.loads(line) == {"size": Checkpoint.objects.newest().size, "note": notes[-1]}
    notes = checkpoints(2)
    later(monkeypatch, minutes=59)
    assert deliver() == 0
    [state] = anchored()
    assert (state.size < Checkpoint.objects.newest().size, state.waiting, state.error) == (True, 0, "")
    later(monkeypatch, minutes=61)
    assert deliver() == 1
    assert json.loads(mailbox.received[-1].get_payload(1).get_payload(decode=True))["note"] == notes[-1]
    monkeypatch.undo()
    (tmp_path / "checkpoint.jsonl").write_bytes(line)
    with pytest.raises(SystemExit) as end:
        call_command("verify_trail", anchor=[str(tmp_path / "checkpoint.jsonl")])
    assert end.value.code == 0


def test_a_mail_server_that_refuses_is_said_and_tried_again(db, mailbox, monkeypatch):
    mailbox.answer = "451 Try again later"
    checkpoints(1)
    assert deliver() == 0
    [state] = anchored()
    assert (state.at, state.waiting, state.error) == (None, 1, "451 Try again later")
    mailbox.answer = "250 OK"
    later(monkeypatch, seconds=6)
    assert deliver() == 1
    assert anchored()[0].error == ""
    assert len(mailbox.received) == 1


@pytest.mark.parametrize(
    ("address", "server", "told"),
    [
        ("nobody", True, "must be one mail address"),
        ("a@example.org, b@example.org", True, "must be one mail address"),
        ("auditor@example.org", False, "needs a mail server"),
    ],
)
def test_a_mailbox_that_can_not_be_one_stops_the_start(monkeypatch, capfd, address, server, told):
    monkeypatch.setenv("OPSSIGHT_ANCHOR_MAIL", address)
    with pytest.raises(SystemExit):
        env.mailbox("OPSSIGHT_ANCHOR_MAIL", server=server)
    said = capfd.readouterr().err
    assert (said.startswith("opssight: OPSSIGHT_ANCHOR_MAIL: "), told in said) == (True, True)
