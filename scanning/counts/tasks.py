from celery import shared_task


@shared_task
def fold_counts() -> None:
    from scanning.counts import services

    services.fold()
