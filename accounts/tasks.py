from celery import shared_task


@shared_task
def send_reset_link(email: str) -> None:
    """Also for addresses without an account: what asked for it does not know which those are."""
    from accounts.services import send_reset_link

    send_reset_link(email)
