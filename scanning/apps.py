from django.apps import AppConfig


class ScanningConfig(AppConfig):
    name = "scanning"

    def ready(self) -> None:
        from audit.registry import audited
        from scanning import events, permissions  # noqa: F401  (registers)
        from scanning.models import Asset, AssetGroupGrant, AssetUserGrant, Finding, Scan

        audited(Asset)
        audited(AssetUserGrant)
        audited(AssetGroupGrant)
        # Leases and progress change many times a run; what matters of them is told by the scans:* events.
        audited(
            Scan,
            ignore=("attempts", "lease_until", "parts_total", "parts_done", "part", "new", "same", "fixed", "reopened"),
        )
        audited(Finding)
