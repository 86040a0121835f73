"""How often one caller may ask, told in every answer (draft-ietf-httpapi-ratelimit-headers)."""

import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from opssight.kernel.http import client_address
from opssight.kernel.rates import used

WINDOW = 60  # seconds


class RequestRate(BaseThrottle):
    """A fixed window of a minute per account, or per address for those who are nobody yet."""

    def allow_request(self, request: Request, view: Any) -> bool:
        if request.user.is_authenticated:
            who, limit = f"user:{request.user.pk}", settings.API_REQUESTS_PER_MINUTE
        else:
            who, limit = f"address:{client_address(request._request)}", settings.API_REQUESTS_PER_MINUTE_ANONYMOUS
        number = used(who, timedelta(seconds=WINDOW))
        self.left = WINDOW - int(time.time()) % WINDOW
        policy = f'"default";q={limit};w={WINDOW}'
        request.rate_limit_headers = {  # type: ignore[attr-defined]
            "RateLimit-Policy": policy,
            "RateLimit": f'"default";r={max(0, limit - number)};t={self.left}',
        }
        return number <= limit

    def wait(self) -> float:
        return float(self.left)
