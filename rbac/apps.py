from django.apps import AppConfig
from django.db.models.signals import post_migrate


class RbacConfig(AppConfig):
    name = "rbac"
    verbose_name = "Roles and units"

    def ready(self) -> None:
        from rbac import permissions, receivers  # noqa: F401  (registers)
        from rbac.role_book import sync_builtin_roles

        post_migrate.connect(sync_builtin_roles, sender=self, dispatch_uid="rbac.builtin_roles")
