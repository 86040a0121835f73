from django.apps import AppConfig


class ComplianceConfig(AppConfig):
    """Frameworks, controls and evidence. Stands at the top of the ladder; its first tables come with the controls."""

    name = "compliance"
