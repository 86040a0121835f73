from celery import shared_task


@shared_task
def warn_of_deadlines() -> None:
    from scanning.deadlines import warn

    warn.warn()
