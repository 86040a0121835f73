from celery import shared_task


@shared_task
def evaluate_controls() -> None:
    from compliance import services

    services.evaluate_by_schedule()
