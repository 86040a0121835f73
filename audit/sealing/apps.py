from django.apps import AppConfig


class SealingConfig(AppConfig):
    name = "audit.sealing"
    label = "sealing"
    verbose_name = "Sealed trail"
