from django.apps import AppConfig


class ScanningConfig(AppConfig):
    name = "scanning"

    def ready(self) -> None:
        from audit.registry import audited
        from scanning import events, permissions  # noqa: F401  (registers)
        from scanning.detail import RATED, TOLD
        from scanning.models import Asset, AssetGroupGrant, AssetUserGrant, Finding, Scan

        audited(Asset, plain=("name", "location"))
        audited(AssetUserGrant, plain=("reason",), reads_too=True)
        audited(AssetGroupGrant, plain=("reason",), reads_too=True)
        # State and progress change many times a run, by the conditional updates of a job: the scans:* events tell them.
        progress = ("part", "parts_total", "parts_done", "files_read", "new", "same", "fixed", "reopened")
        job = ("state", "reason", "attempts", "lease_until", "queued_at", "started_at", "finished_at")
        audited(Scan, plain=("scanner",), ignore=("scanner_version", *job, *progress))
        # What a scan says anew each time, of a finding that stays the same. The code it flags may hold a secret.
        audited(
            Finding,
            plain=("scanner", "fingerprint", "rule", "title", "description", "confidence", "path", "help_url"),
            ignore=("line", "code", "last_seen_at", "last_scan", *TOLD, *RATED),
            beside=("tags", "acceptance"),
            reads_too=True,
        )
