from django.apps import AppConfig
from django.db.models.signals import post_migrate


class ComplianceConfig(AppConfig):
    """Frameworks, controls and evidence, at the top of the ladder."""

    name = "compliance"

    def ready(self) -> None:
        from audit.registry import audited
        from compliance import events, permissions  # noqa: F401  (registers)
        from compliance.models import Contribution, Control, Framework, Requirement
        from compliance.services import sync_catalogue

        audited(Framework, plain=("key", "name", "version"))
        audited(Requirement, plain=("ref", "title"))
        audited(Control, plain=("key", "title", "description", "params"))
        audited(Contribution)
        post_migrate.connect(sync_catalogue, sender=self, dispatch_uid="compliance.catalogue")
