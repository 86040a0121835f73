from celery import shared_task


@shared_task
def deliver(notice_id: int) -> None:
    from accounts.notify import services

    services.deliver(notice_id)


@shared_task
def purge_notices() -> None:
    from accounts.notify import services

    services.purge()
