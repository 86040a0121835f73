from celery import shared_task


@shared_task
def run_due() -> None:
    from scanning.schedules import services

    services.run_due()
