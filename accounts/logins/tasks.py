from smtplib import SMTPException

from celery import shared_task


@shared_task(acks_late=True, autoretry_for=(OSError, SMTPException), retry_backoff=30, max_retries=8)
def send_notice(login_id: int) -> None:
    from accounts.logins import notices

    notices.send(login_id)


@shared_task
def purge_sessions() -> None:
    from accounts.logins import services

    services.purge()
