from celery import shared_task


@shared_task
def tell_of_ending_tokens() -> None:
    from accounts.tokens import services

    services.tell_of_ending_tokens()
