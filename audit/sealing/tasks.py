from celery import shared_task


@shared_task
def verify_new() -> None:
    from audit.sealing import verification

    verification.verify_and_keep(since_last=True)


@shared_task
def verify_all() -> None:
    from audit.sealing import verification

    verification.verify_and_keep()
