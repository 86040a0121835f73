"""Anchors: copies of the checkpoints in places that this installation does not rule.

Only what is outside shows that the log was rolled back, emptied, or written anew with a stolen key. An anchor gets each
checkpoint, in order and at least once; one that was away gets what it missed. A mailbox gets the newest, once an hour.
"""

import fcntl
import hmac
import json
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from smtplib import SMTPException
from typing import Protocol
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Max
from django.utils import timezone

from accounts.notify.services import described
from audit.sealing.events import ANCHOR_FAILED, ANCHOR_RECOVERED
from audit.sealing.models import Checkpoint, Delivery
from opssight.kernel import outgoing

BATCH = 100
LEASE = timedelta(seconds=60)  # for one batch; a sealer that was ended leaves its batch to the next after that
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=5)
LATE = timedelta(minutes=15)

log = logging.getLogger("opssight.trail")


class AnchorFailed(Exception):
    """Why an anchor did not take checkpoints, in words."""


class Anchor(Protocol):
    """With a `pause`, it takes the newest checkpoint alone, and the next one that long after."""

    name: str
    pause: timedelta | None

    def send(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Take them all, oldest first, or raise AnchorFailed. They may have come before."""


def configured() -> list[Anchor]:
    anchors: list[Anchor] = []
    if settings.ANCHOR_FILE:
        anchors.append(FileAnchor(Path(settings.ANCHOR_FILE)))
    if settings.ANCHOR_URL:
        anchors.append(WebhookAnchor(settings.ANCHOR_URL, settings.ANCHOR_SECRET))
    if settings.ANCHOR_MAIL:
        anchors.append(MailAnchor(settings.ANCHOR_MAIL))
    return anchors


def lines(checkpoints: Sequence[Checkpoint]) -> str:
    """One JSON object for each, a line each."""
    return "".join(json.dumps({"size": row.size, "note": row.note}, ensure_ascii=False) + "\n" for row in checkpoints)


class FileAnchor:
    """A file that is only appended to: on a disk of another machine, or one that may not be rewritten (`chattr +a`)."""

    TAIL = 131_072  # holds more than a batch
    pause: timedelta | None = None

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, f"file {path}"

    def send(self, checkpoints: Sequence[Checkpoint]) -> None:
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                written = self._tail(file.fileno())
                missing = "".join(line for row in checkpoints if (line := lines([row])) not in written)
                # Half a line stays behind where the machine stopped in the middle of one.
                text = missing if not written or written.endswith("\n") else f"\n{missing}"
                if missing and file.write(text.encode()) != len(text.encode()):
                    raise AnchorFailed("the disk is full")
                os.fsync(file.fileno())
        except OSError as error:
            raise AnchorFailed(f"{self.path} can't be written: {error.strerror}") from None

    def _tail(self, handle: int) -> str:
        size = os.fstat(handle).st_size
        return os.pread(handle, self.TAIL, max(0, size - self.TAIL)).decode(errors="replace")


class WebhookAnchor:
    """Posts JSON lines. `OpsSight-Signature: t=SECONDS,v1=HEX` is HMAC-SHA256, by the shared secret, over
    `SECONDS.BODY`."""

    pause: timedelta | None = None

    def __init__(self, url: str, secret: str) -> None:
        self.url, self.secret, self.name = url, secret, f"webhook {urlsplit(url).hostname}"

    def send(self, checkpoints: Sequence[Checkpoint]) -> None:
        body, now = lines(checkpoints).encode(), int(time.time())
        made = hmac.new(self.secret.encode(), b"%d.%b" % (now, body), sha256).hexdigest()
        headers = {"Content-Type": "application/jsonl", "OpsSight-Signature": f"t={now},v1={made}"}
        try:
            answer = outgoing.send("POST", self.url, content=body, headers=headers)
        except outgoing.OutgoingError as error:
            raise AnchorFailed(str(error)) from None
        if not answer.is_success:
            raise AnchorFailed(f"{urlsplit(self.url).hostname} answers {answer.status_code}")


MAIL = """The trail of {url} holds {size} entries, and this is its signed state.

Keep this mail where nobody who runs that server can delete it. To hold the trail against it, give the attached file to
verify.py or to `manage.py verify_trail` with --anchor.
"""


class MailAnchor:
    """A mailbox outside. Deliveries are an outbox already, so the mail goes straight to the server."""

    pause: timedelta | None = timedelta(hours=1)

    def __init__(self, address: str) -> None:
        self.address, self.name = address, f"mail {address}"

    def send(self, checkpoints: Sequence[Checkpoint]) -> None:
        size = f"{checkpoints[-1].size:,}"
        mail = EmailMessage(
            f"Trail of {urlsplit(settings.BASE_URL).hostname}: {size} entries",
            MAIL.format(url=settings.BASE_URL, size=size),
            to=[self.address],
            attachments=[("checkpoint.jsonl", lines(checkpoints), "application/octet-stream")],
            headers={"Auto-Submitted": "auto-generated"},  # RFC 3834 §5
        )
        try:
            mail.send()
        except (OSError, SMTPException) as error:
            raise AnchorFailed(described(error)) from None


# --- delivery -------------------------------------------------------------------------------------------------------


def deliver() -> int:
    """Send what waits to each anchor, and return how many checkpoints were taken. What fails is tried again later."""
    taken = 0
    for anchor in configured():
        _enqueue(anchor)
        while batch := _claim(anchor, at=timezone.now()):
            try:
                anchor.send([delivery.checkpoint for delivery in batch])
            except AnchorFailed as problem:
                _failed(anchor, batch[0], str(problem)[:300], at=timezone.now())
                break
            _delivered(anchor, batch, at=timezone.now())
            taken += len(batch)
    return taken


def _enqueue(anchor: Anchor) -> None:
    """A row for each checkpoint that the anchor has none for; a new anchor gets all there are, or the newest."""
    rows, now = Delivery.objects.filter(anchor=anchor.name), timezone.now()
    known = rows.aggregate(newest=Max("checkpoint"))["newest"] or 0
    if anchor.pause:
        if rows.waiting().exists() or rows.filter(at__gt=now - anchor.pause).exists():
            return
        newest = Checkpoint.objects.newest()
        known = max(known, newest.pk - 1) if newest else known
    while pks := list(
        Checkpoint.objects.filter(pk__gt=known).order_by("pk").values_list("pk", flat=True)[: 10 * BATCH]
    ):
        new = [Delivery(checkpoint_id=pk, anchor=anchor.name, next_try=now) for pk in pks]
        Delivery.objects.bulk_create(new, ignore_conflicts=True)  # another sealer may do the same
        known = pks[-1]


def _claim(anchor: Anchor, *, at: datetime) -> list[Delivery]:
    """The oldest that wait, for this process alone; none where their time has not come or another has them."""
    waiting = Delivery.objects.waiting().filter(anchor=anchor.name).select_related("checkpoint").order_by("checkpoint")
    batch = list(waiting[:BATCH])
    if not batch or not waiting.filter(pk=batch[0].pk, next_try__lte=at).update(next_try=at + LEASE):
        return []
    return batch


def _failed(anchor: Anchor, oldest: Delivery, reason: str, *, at: datetime) -> None:
    wait = min(FIRST_WAIT * 2 ** min(oldest.attempts, 10), LONGEST_WAIT)
    late = not oldest.told and at - oldest.checkpoint.at > LATE
    Delivery.objects.filter(pk=oldest.pk).update(
        attempts=oldest.attempts + 1, next_try=at + wait, error=reason, told=oldest.told or late
    )
    if late:
        log.error("the anchor %s takes no checkpoints: %s", anchor.name, reason)
        ANCHOR_FAILED.emit(success=False, error=reason, anchor=anchor.name, size=oldest.checkpoint.size)


def _delivered(anchor: Anchor, batch: Sequence[Delivery], *, at: datetime) -> None:
    Delivery.objects.filter(pk__in=[delivery.pk for delivery in batch]).update(at=at, error="")
    if batch[0].told:
        ANCHOR_RECOVERED.emit(anchor=anchor.name, size=batch[-1].checkpoint.size)


# --- state ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Anchored:
    """What one anchor holds: the log up to `size` entries since `at` (None: nothing), and what keeps it from more."""

    anchor: str
    size: int
    checkpoint: int | None
    at: datetime | None
    waiting: int
    error: str


def anchored() -> list[Anchored]:
    """The state of each anchor that is set; none is set: the log is not anchored, and says so."""
    return [_state(anchor) for anchor in configured()]


def _state(anchor: Anchor) -> Anchored:
    rows = Delivery.objects.filter(anchor=anchor.name).select_related("checkpoint").order_by("checkpoint")
    held, oldest = rows.exclude(at=None).last(), rows.waiting().first()
    known = rows.last()
    coming = Checkpoint.objects.filter(pk__gt=known.checkpoint_id if known else 0)
    unknown = int(not known and coming.exists()) if anchor.pause else coming.count()
    return Anchored(
        anchor=anchor.name,
        size=held.checkpoint.size if held else 0,
        checkpoint=held.checkpoint_id if held else None,
        at=held.at if held else None,
        waiting=rows.waiting().count() + unknown,
        error=oldest.error if oldest else "",
    )
