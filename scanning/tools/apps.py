from django.apps import AppConfig


class ToolsConfig(AppConfig):
    name = "scanning.tools"
    label = "tools"
    verbose_name = "The scanners' own installations"

    def ready(self) -> None:
        from audit.registry import audited
        from scanning.tools import events, permissions  # noqa: F401  (registers)
        from scanning.tools.models import Installation

        # As with a scan: state and progress change by the conditional updates of a job, and the events tell them.
        job = ("state", "step", "reason", "attempts", "lease_until", "queued_at", "started_at", "finished_at")
        audited(Installation, plain=("tool", "version"), ignore=job)
