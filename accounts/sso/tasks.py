from celery import shared_task


@shared_task(name="accounts.sso.tasks.purge_attempts")
def purge_attempts() -> None:
    from accounts.sso import endings

    endings.purge()
