from celery import shared_task


@shared_task(name="scanning.tasks.run_scan")
def run_scan(scan_id: int) -> None:
    from scanning import services

    services.run_scan(scan_id)


@shared_task(name="scanning.tasks.renew_deadlines")
def renew_deadlines(renewal_id: int) -> None:
    from scanning.deadlines import renewal

    renewal.renew(renewal_id)
