from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "rbac.access"
    label = "access"
    verbose_name = "Conditional access"

    def ready(self) -> None:
        from rbac.access import events, facts, permissions, receivers  # noqa: F401  (registers)
