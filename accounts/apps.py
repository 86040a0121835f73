from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import facts, permissions, receivers  # noqa: F401  (registers)
