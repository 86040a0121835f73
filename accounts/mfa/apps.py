from django.apps import AppConfig


class MfaConfig(AppConfig):
    name = "accounts.mfa"
    label = "mfa"
    verbose_name = "Second factors"

    def ready(self) -> None:
        from accounts.mfa import events, permissions  # noqa: F401  (registers)
