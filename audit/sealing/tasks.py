import logging

from celery import shared_task

log = logging.getLogger("opssight.trail")
_said: set[str] = set()


@shared_task
def seal_trail() -> None:
    """Comes every few seconds, so what is wrong is said once and not each time."""
    from audit.sealing import anchors, sealer

    try:
        sealer.seal()
        _said.clear()
    except sealer.CannotSeal as problem:
        if str(problem) not in _said:
            log.error("the trail is not sealed: %s", problem)
        _said.add(str(problem))
    anchors.deliver()


@shared_task
def verify_new() -> None:
    from audit.sealing import verification

    verification.verify_and_keep(since_last=True)


@shared_task
def verify_all() -> None:
    from audit.sealing import verification

    verification.verify_and_keep()
