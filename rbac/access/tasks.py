from celery import shared_task


@shared_task(name="rbac.access.tasks.purge_traces")
def purge_traces() -> None:
    from rbac.access import services

    services.purge_traces()
