"""Writing to people: `notify` in the transaction of what is told, `deliver` by a worker, nothing twice.

Delivery is at least once. A worker that is killed between the mail server's "250" and the row's "sent" leaves a
notice that is sent again once its lease has passed: a warning that comes twice is better than one that never comes.
The second copy carries the same Message-ID, by which mailboxes know it.
"""

import logging
from datetime import datetime, timedelta
from smtplib import SMTPDataError, SMTPException, SMTPRecipientsRefused
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone
from django.utils.http import http_date

from accounts.models import User
from accounts.notify import events, kinds
from accounts.notify.kinds import Kind
from accounts.notify.models import Delivery, Notice, NoticeState, Preference
from opssight.kernel.crypto import Undecryptable, keyed_hash
from opssight.kernel.jobs import LeaseLost

log = logging.getLogger("opssight.notify")
SIGNATURE = "\n\nOpsSight, {url}\nNobody will ever ask you for a code or a password.\n"
# After the first attempt, the second and so on; ten in about a day and a half, then it has failed.
WAITS = [timedelta(minutes=m) for m in (0.5, 2, 5, 15, 60, 180, 360, 720, 720)]
NO_SERVER = "No mail server is set up: OPSSIGHT_SMTP_URL names one."
TOO_LATE = "It was of no use any more: what it tells of has run out."
Outcome = Delivery.Outcome


def notify(
    to: User | str, kind: Kind, subject: str, text: str, *, key: str = "", expires_at: datetime | None = None
) -> Notice | None:
    """Write to an account or an address, once this transaction commits; a worker sends it.

    `key` names the news: told once to each, however often this is called. Returns the notice (the first one, where it
    was told), or None where the person does not want to hear of it, or is a service.
    """
    notice = _write(to, kind, subject, text, key=key, expires_at=expires_at)
    if notice is not None and notice.attempts == 0:
        notice.dispatch()
    return notice


def notify_now(to: User | str, kind: Kind, subject: str, text: str, *, expires_at: datetime) -> bool:
    """The same for what somebody waits for at a page: sent here. False where the server did not take it; it is tried
    again until `expires_at`."""
    notice = _write(to, kind, subject, text, expires_at=expires_at)
    if notice is None:
        return False
    deliver(notice.pk)
    notice.refresh_from_db()
    return notice.state == NoticeState.COMPLETED


@transaction.atomic
def _write(
    to: User | str, kind: Kind, subject: str, text: str, *, key: str = "", expires_at: datetime | None = None
) -> Notice | None:
    user = to if isinstance(to, User) else None
    if user is not None and (user.kind != User.Kind.PERSON or not wants(user, kind)):
        return None
    address = to.email if isinstance(to, User) else to
    validate_email(address)
    notice = Notice(
        user=user,
        address=address,
        kind=kind.name,
        subject=" ".join(subject.split())[:200],
        dedupe_hash=keyed_hash("notice", f"{kind.name}\0{address}\0{key}") if key else None,
        expires_at=expires_at,
    )
    notice.text = text
    if not key:
        notice.save()
        return notice
    values = {f.attname: getattr(notice, f.attname) for f in Notice._meta.concrete_fields if not f.primary_key}
    return Notice.objects.get_or_create(dedupe_hash=values.pop("dedupe_hash"), defaults=values)[0]


# --- preferences --------------------------------------------------------------------------------------------------


def wants(user: User, kind: Kind) -> bool:
    return kind.compulsory or not Preference.objects.filter(user=user, kind=kind.name, by_email=False).exists()


def preferences(user: User) -> list[tuple[Kind, bool]]:
    """Every kind, and whether the person is written to about it."""
    off = set(Preference.objects.filter(user=user, by_email=False).values_list("kind", flat=True))
    return [(kind, kind.compulsory or kind.name not in off) for kind in kinds.registry.values()]


@transaction.atomic
def set_preference(user: User, kind: str, *, by_email: bool) -> None:
    """ValidationError for a kind that there is not, and for one that can't be turned off."""
    User.objects.select_for_update().get(pk=user.pk)  # two at once must not both make the row
    row = Preference.objects.filter(user=user, kind=kind).first() or Preference(user=user, kind=kind)
    row.by_email = by_email
    row.full_clean()
    row.save()


# --- sending ------------------------------------------------------------------------------------------------------


def deliver(pk: int) -> None:
    """Try once to send the notice; harmless where it was sent, or another worker is about to."""
    notice = Notice.claim(pk)
    if notice is None:
        return
    try:
        _attempt(notice)
    except LeaseLost:
        log.warning("notice %s took too long and was taken over by another worker", notice.uid)


def _attempt(notice: Notice) -> None:
    if notice.expires_at is not None and notice.expires_at <= timezone.now():
        fail(notice, TOO_LATE)
        return
    delivery = Delivery.objects.create(notice=notice, attempt=notice.attempts)
    try:
        _send(notice)
    except (OSError, SMTPException, ValueError, Undecryptable) as error:
        _not_sent(notice, delivery, error)
        return
    with transaction.atomic():
        _end(delivery, Outcome.SENT)
        notice.finish(NoticeState.COMPLETED, text_encrypted="", reason="")


def _send(notice: Notice) -> None:
    if settings.EMAIL_BACKEND.endswith(".dummy.EmailBackend"):
        raise ValueError(NO_SERVER)
    body = notice.text + SIGNATURE.format(url=settings.BASE_URL)
    headers = {
        "Message-ID": notice.message_id,
        "Date": http_date(notice.created_at.timestamp()).replace("GMT", "+0000"),
        "Auto-Submitted": "auto-generated",  # RFC 3834 §5: no answer from an absent person
    }
    EmailMessage(notice.subject, body, None, [notice.address], headers=headers).send()


def _not_sent(notice: Notice, delivery: Delivery, error: Exception) -> None:
    detail, at = described(error), timezone.now()
    is_last = notice.attempts >= Notice.max_attempts
    again_at = at + WAITS[min(notice.attempts, len(WAITS)) - 1]
    if _is_final(error) or is_last:
        with transaction.atomic():
            _end(delivery, Outcome.REFUSED, detail)
            fail(notice, detail)
    elif notice.expires_at is not None and notice.expires_at <= again_at:
        with transaction.atomic():
            _end(delivery, Outcome.DEFERRED, detail)
            fail(notice, f"{TOO_LATE} {detail}")
    else:
        with transaction.atomic():
            _end(delivery, Outcome.DEFERRED, detail)
            notice.put_back(until=again_at, reason=detail)


def _is_final(error: Exception) -> bool:
    """Whether another attempt would end the same way: the server says so of this address or text (RFC 5321 §4.2.1)."""
    match error:
        case SMTPRecipientsRefused():
            return all(500 <= code < 600 for code, _ in error.recipients.values())
        case SMTPDataError():
            return 500 <= error.smtp_code < 600
    return isinstance(error, ValueError | Undecryptable) and not isinstance(error, OSError)


def described(error: Exception) -> str:
    """Why a mail was not sent, in the server's words where it had some."""
    match error:
        case SMTPRecipientsRefused():
            said = "; ".join(f"{code} {_decoded(text)}" for code, text in error.recipients.values())
        case SMTPException() if getattr(error, "smtp_code", 0):
            said = f"{error.smtp_code} {_decoded(error.smtp_error)}"  # type: ignore[attr-defined]
        case ValueError() | Undecryptable():
            said = str(error)
        case _:
            said = f"The mail server can't be reached: {error}"
    return "".join(c if c.isprintable() else " " for c in said)[:300]


def _decoded(text: bytes | str) -> str:
    return text.decode(errors="replace") if isinstance(text, bytes) else text


def _end(delivery: Delivery, outcome: str, detail: str = "") -> None:
    delivery.outcome, delivery.detail, delivery.ended_at = outcome, detail, timezone.now()
    delivery.save(update_fields=["outcome", "detail", "ended_at"])


@transaction.atomic
def fail(notice: Notice, reason: str) -> None:
    """The end of a notice that was not sent. Its text is erased: nobody sends it again."""
    notice.finish(NoticeState.FAILED, text_encrypted="", reason=reason[:300])
    told: dict[str, Any] = {"kind": notice.kind, "notice": str(notice.uid), "attempts": notice.attempts}
    events.NOTICE_FAILED.emit(target=notice.user or notice, success=False, error=reason[:300], **told)


def purge() -> None:
    Notice.objects.outlived(at=timezone.now()).delete()
