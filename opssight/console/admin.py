from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.utils.http import urlencode

from opssight.kernel.access import decide
from opssight.kernel.guards import is_signed_in


class OpsSightAdminSite(AdminSite):
    """Django's admin behind both factors and the permission admin:enter, in the console's colours."""

    site_title = site_header = "OpsSight admin"
    index_title = "Configuration and exact records"
    site_url = "/"
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        return is_signed_in(request.user) and decide(request.user, "admin:enter").allowed

    def login(self, request: HttpRequest, extra_context: dict[str, object] | None = None) -> HttpResponse:
        """The console's sign-in is the only one; someone signed in without the permission is told so by the index."""
        from opssight.kernel.access import Forbidden

        if is_signed_in(request.user):
            raise Forbidden("admin:enter")
        wanted = request.GET.get("next", request.get_full_path())
        return redirect(f"{resolve_url('sign-in')}?{urlencode({'next': wanted})}")
