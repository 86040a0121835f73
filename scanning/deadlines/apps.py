from django.apps import AppConfig


class DeadlinesConfig(AppConfig):
    name = "scanning.deadlines"
    label = "deadlines"
    verbose_name = "Warnings of deadlines"

    def ready(self) -> None:
        from scanning.deadlines import events, notices  # noqa: F401  (registers)
