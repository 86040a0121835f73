"""The one way in which accounts write to people. What is said here carries no secret: it passes through the queue."""

from celery import current_app
from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction

from accounts.models import User

SIGNATURE = "\n\nOpsSight, {url}\nNobody will ever ask you for a code or a password.\n"


def tell(user: User, subject: str, text: str) -> None:
    """A notice to the account's own address, sent by a worker once the change is committed."""
    letter = [user.email, subject, text]
    transaction.on_commit(lambda: current_app.send_task("accounts.tasks.send_letter", args=letter), robust=True)


def send_now(address: str, subject: str, text: str) -> None:
    """Send here and now: for workers, and for what carries a secret and so must not wait in a queue."""
    send_mail(subject, text + SIGNATURE.format(url=settings.BASE_URL), None, [address])
