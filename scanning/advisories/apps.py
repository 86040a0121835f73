from django.apps import AppConfig


class AdvisoriesConfig(AppConfig):
    name = "scanning.advisories"
    label = "advisories"
    verbose_name = "Lists of exploited weaknesses"
