from smtplib import SMTPException

from celery import shared_task


@shared_task(
    name="accounts.tasks.send_letter",
    autoretry_for=(OSError, SMTPException),
    retry_backoff=30,
    max_retries=5,
)
def send_letter(address: str, subject: str, text: str) -> None:
    from accounts.mail import send_now

    send_now(address, subject, text)


@shared_task(
    name="accounts.tasks.send_reset_link",
    autoretry_for=(OSError, SMTPException),
    retry_backoff=30,
    max_retries=3,
)
def send_reset_link(email: str) -> None:
    """Also for addresses without an account: what asked for it does not know which those are."""
    from accounts.services import send_reset_link

    send_reset_link(email)


@shared_task(
    name="accounts.tasks.send_new_beginning",
    autoretry_for=(OSError, SMTPException),
    retry_backoff=30,
    max_retries=5,
)
def send_new_beginning(user_id: int) -> None:
    from accounts.services import send_new_beginning

    send_new_beginning(user_id)
