from django.apps import AppConfig


class ImportsConfig(AppConfig):
    name = "scanning.imports"
    label = "imports"
    verbose_name = "Imported reports"

    def ready(self) -> None:
        from audit.registry import audited
        from scanning.imports import events, permissions  # noqa: F401  (registers)
        from scanning.imports.models import Import

        audited(Import, plain=("name", "digest"), m2m=())
