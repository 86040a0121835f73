from django.apps import AppConfig


class OpsSightConfig(AppConfig):
    name = "opssight"

    def ready(self) -> None:
        from opssight import celery  # noqa: F401  (makes the app the one that tasks are sent through)
        from opssight.kernel import database, fieldkeys  # noqa: F401  (registers)
