from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, resolve_url

from accounts.step_up import is_stepped_up
from opssight.kernel.access import check
from opssight.kernel.guards import is_signed_in

TASKS = ("People", "Who may do what", "Code and findings", "Evidence", "Records")


class OpsSightAdminSite(AdminSite):
    """Django's admin behind both factors, the permission admin:enter and a fresh step-up, in the console's colours."""

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

    def admin_view(self, view: Callable[..., HttpResponseBase], cacheable: bool = False) -> Any:
        inner = super().admin_view(view, cacheable)

        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if self.has_permission(request) and not is_stepped_up(request):
                return redirect(f"{resolve_url('step-up')}?{urlencode({'next': request.get_full_path()})}")
            response: HttpResponseBase = inner(request, *args, **kwargs)
            return response

        return answer

    def login(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """The console's sign-in is the only one."""
        wanted = request.GET.get("next", request.get_full_path())
        return redirect(f"{resolve_url('sign-in')}?{urlencode({'next': wanted})}")

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """By task rather than by the app that owns the table; an app's own page stays as Django has it."""
        apps = super().get_app_list(request, app_label)
        if app_label:
            return apps
        by_task: dict[str, list[Any]] = {task: [] for task in TASKS}
        for app in apps:
            for model in app["models"]:
                by_task[getattr(self._registry[model["model"]], "task", "Records")].append(model)
        return [
            {"name": task, "app_label": task, "app_url": "", "has_module_perms": True, "models": models}
            for task, models in by_task.items()
            if models
        ]
