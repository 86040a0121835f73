from django.apps import AppConfig


class NotifyConfig(AppConfig):
    name = "accounts.notify"
    label = "notify"
    verbose_name = "Notices"

    def ready(self) -> None:
        from accounts.notify import events, permissions  # noqa: F401  (registers)
