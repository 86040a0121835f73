from django.apps import AppConfig


class SealingConfig(AppConfig):
    name = "audit.sealing"
    label = "sealing"
    verbose_name = "Sealed trail"

    def ready(self) -> None:
        from audit.sealing import events, permissions  # noqa: F401  (register)
