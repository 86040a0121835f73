from importlib import import_module

from django.apps import apps
from django.contrib.admin.apps import SimpleAdminConfig
from django.utils.module_loading import module_has_submodule

OWN = {"opssight", "accounts", "rbac", "audit", "scanning", "compliance"}


class ConsoleAdminConfig(SimpleAdminConfig):
    """Our own site as the default one. Only our own apps' admin modules are loaded: those that other packages bring
    know nothing of permissions."""

    default_site = "opssight.console.admin.OpsSightAdminSite"

    def ready(self) -> None:
        super().ready()
        for app in apps.get_app_configs():
            if app.name.partition(".")[0] in OWN and app.module and module_has_submodule(app.module, "admin"):
                import_module(f"{app.name}.admin")
