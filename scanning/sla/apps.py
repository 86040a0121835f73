from django.apps import AppConfig


class SlaConfig(AppConfig):
    name = "scanning.sla"
    label = "sla"
    verbose_name = "Deadlines of findings"

    def ready(self) -> None:
        from audit.registry import audited
        from scanning.sla import events, permissions  # noqa: F401  (registers)
        from scanning.sla.models import SlaPolicy

        audited(SlaPolicy)
