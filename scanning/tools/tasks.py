from celery import shared_task


@shared_task
def install(installation_id: int) -> None:
    from scanning.tools import services

    services.run_installation(installation_id)
