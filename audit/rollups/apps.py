from django.apps import AppConfig


class RollupsConfig(AppConfig):
    name = "audit.rollups"
    label = "rollups"
    verbose_name = "Trail figures"
