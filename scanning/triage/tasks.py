from celery import shared_task


@shared_task
def wake_accepted() -> None:
    from scanning.triage import services, undo

    services.wake()
    undo.forget()
