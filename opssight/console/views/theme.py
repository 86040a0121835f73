from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from opssight.console.templatetags.console import THEME_COOKIE, THEMES
from opssight.kernel.guards import public

YEAR = 365 * 24 * 3600


@public("keeps the colours of this browser in a cookie; nothing else is read or changed")
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Not HttpOnly: the script sets the same cookie to spare the round trip."""
    asked, back = request.POST.get("theme", ""), request.POST.get("next", "")
    ours = back.startswith("/") and url_has_allowed_host_and_scheme(back, None)
    answer = redirect(back if ours else "/")
    if asked in THEMES:
        answer.set_cookie(THEME_COOKIE, asked, max_age=YEAR, samesite="Lax", secure=settings.HTTPS)
    else:
        answer.delete_cookie(THEME_COOKIE, samesite="Lax")
    return answer
