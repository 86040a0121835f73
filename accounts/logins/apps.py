from django.apps import AppConfig


class LoginsConfig(AppConfig):
    name = "accounts.logins"
    label = "logins"
    verbose_name = "Sessions"

    def ready(self) -> None:
        from accounts.logins import events, permissions, receivers  # noqa: F401  (registers)
