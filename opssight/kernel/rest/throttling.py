"""How often one caller may ask, told in every answer (draft-ietf-httpapi-ratelimit-headers)."""

import time
from typing import Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from opssight.kernel.http import client_address

WINDOW = 60  # seconds


class RequestRate(BaseThrottle):
    """A fixed window of a minute per account, or per address for those who are nobody yet."""

    def allow_request(self, request: Request, view: Any) -> bool:
        if request.user.is_authenticated:
            who, limit = f"user:{request.user.pk}", settings.API_REQUESTS_PER_MINUTE
        else:
            who, limit = f"address:{client_address(request._request)}", settings.API_REQUESTS_PER_MINUTE_ANONYMOUS
        window, into = divmod(int(time.time()), WINDOW)
        key = f"rate:{who}:{window}"
        cache.add(key, 0, timeout=WINDOW * 2)
        try:
            used = cache.incr(key)
        except ValueError:  # evicted between the two calls
            used = 1
        self.left = WINDOW - into
        policy = f'"default";q={limit};w={WINDOW}'
        request.rate_limit_headers = {  # type: ignore[attr-defined]
            "RateLimit-Policy": policy,
            "RateLimit": f'"default";r={max(0, limit - used)};t={self.left}',
        }
        return bool(used <= limit)

    def wait(self) -> float:
        return float(self.left)
