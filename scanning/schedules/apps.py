from django.apps import AppConfig


class SchedulesConfig(AppConfig):
    name = "scanning.schedules"
    label = "schedules"
    verbose_name = "When scans run"

    def ready(self) -> None:
        from audit.registry import audited
        from scanning.schedules import permissions  # noqa: F401  (registers)
        from scanning.schedules.models import Schedule

        audited(Schedule, plain=("scanner",), ignore=("next_at", "last_at"))
