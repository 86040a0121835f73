from celery import shared_task


@shared_task
def enrich_findings() -> None:
    from scanning.advisories import services

    services.enrich()
