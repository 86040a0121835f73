from django.apps import AppConfig


class PersonalConfig(AppConfig):
    name = "accounts.personal"
    label = "personal"
    verbose_name = "Personal details"

    def ready(self) -> None:
        from accounts.personal import events, permissions  # noqa: F401  (registers)
