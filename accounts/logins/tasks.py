from celery import shared_task


@shared_task
def purge_sessions() -> None:
    from accounts.logins import services

    services.purge()
