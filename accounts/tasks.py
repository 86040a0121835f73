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
