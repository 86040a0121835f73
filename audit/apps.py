from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Audit trail"

    def ready(self) -> None:
        from audit import bulk, events, permissions, receivers, registry, watch  # noqa: F401  (registers)
        from audit.guard import install_after_migration

        registry.register_lower_apps()
        bulk.install()
        post_migrate.connect(install_after_migration, sender=self, dispatch_uid="audit.guard")
        # After the last app, when the tables of all are there.
        *_, last = apps.get_app_configs()
        post_migrate.connect(watch.install_after_migration, sender=last, dispatch_uid="audit.watch")
