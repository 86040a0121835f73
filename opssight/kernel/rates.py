"""How often something was done, counted in fixed windows of time by whatever cache the processes share."""

import time
from datetime import timedelta

from django.core.cache import cache


def used(what: str, window: timedelta) -> int:
    """How often within the window of now, this time included; a count that the cache lost begins anew."""
    seconds = int(window.total_seconds())
    key = f"rate:{what}:{int(time.time()) // seconds}"
    cache.add(key, 0, timeout=seconds * 2)
    try:
        return int(cache.incr(key))
    except ValueError:  # evicted between the two calls
        return 1
