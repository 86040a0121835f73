from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CountsConfig(AppConfig):
    name = "scanning.counts"
    label = "counts"
    verbose_name = "Counts of findings"

    def ready(self) -> None:
        from opssight.kernel.access import register_rollup
        from scanning.counts.models import StateCount, WeekCount
        from scanning.counts.triggers import install_after_migration

        register_rollup("findings", StateCount, WeekCount)
        post_migrate.connect(install_after_migration, sender=self, dispatch_uid="counts.triggers")
