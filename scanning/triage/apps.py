from django.apps import AppConfig


class TriageConfig(AppConfig):
    name = "scanning.triage"
    label = "triage"
    verbose_name = "Decisions on findings"

    def ready(self) -> None:
        from audit.registry import audited
        from scanning.triage import events, permissions  # noqa: F401  (registers)
        from scanning.triage.models import Decision

        audited(Decision, plain=("reason", "answer"))
