from django.apps import AppConfig


class TokensConfig(AppConfig):
    name = "accounts.tokens"
    label = "tokens"

    def ready(self) -> None:
        from accounts.tokens import events, permissions  # noqa: F401  (registers)
