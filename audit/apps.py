from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Audit trail"

    def ready(self) -> None:
        from audit import events, permissions, receivers, registry  # noqa: F401  (registers)
        from audit.guard import install_after_migration

        registry.register_lower_apps()
        post_migrate.connect(install_after_migration, sender=self, dispatch_uid="audit.guard")
