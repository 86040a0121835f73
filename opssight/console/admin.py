from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.utils.http import urlencode

from opssight.kernel.access import check
from opssight.kernel.guards import is_signed_in


class OpsSightAdminSite(AdminSite):
    """Django's admin behind both factors and the permission admin:enter, in the console's colours."""

    site_title = site_header = "OpsSight admin"
    index_title = "Configuration and exact records"
    site_url = "/"
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        """Nobody is sent to sign in; somebody without the permission is refused by its name."""
        if not is_signed_in(request.user):
            return False
        check(request.user, "admin:enter")
        return True

    def login(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        """The console's sign-in is the only one."""
        wanted = request.GET.get("next", request.get_full_path())
        return redirect(f"{resolve_url('sign-in')}?{urlencode({'next': wanted})}")
