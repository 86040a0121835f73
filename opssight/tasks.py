from celery import shared_task
from django.utils import timezone


@shared_task
def requeue_overdue_jobs() -> None:
    from opssight.kernel import jobs

    jobs.requeue_overdue(at=timezone.now())
