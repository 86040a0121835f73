from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "accounts.devices"
    label = "devices"
    verbose_name = "Devices"

    def ready(self) -> None:
        from accounts.devices import events, facts, permissions  # noqa: F401  (registers)
