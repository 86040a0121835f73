from celery import shared_task
from django.utils import timezone


@shared_task
def requeue_overdue_jobs() -> None:
    """Comes every 30 s, so its coming is also beat's sign of life."""
    from opssight.kernel import jobs
    from opssight.models import Heartbeat

    Heartbeat.beat("beat")
    jobs.requeue_overdue(at=timezone.now())


@shared_task
def purge_idempotency_records() -> None:
    from opssight.kernel.rest import idempotency

    idempotency.purge()
