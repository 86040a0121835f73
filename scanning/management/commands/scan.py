import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from opssight.kernel.actor import acting, command
from opssight.kernel.database import migrate_embedded
from scanning import inventory, services
from scanning.models import Asset, Finding, Scan, ScanState
from scanning.scanners.base import registry

CLEAN, FOUND, UNKNOWN = 0, 1, 3


class Command(BaseCommand):
    help = (
        "Scan a folder, an archive or container image in a file, an image in its registry, or a repository. "
        "Exit code 0: everything was read and nothing is open; 1: something is open; "
        "3: a scanner or the target failed, so nothing is known."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", metavar="PATH")
        parser.add_argument("--scanners", help="comma-separated; default: every installed one that fits")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        asked = options["scanners"]
        names = (
            None if asked is None else list(dict.fromkeys(name for part in asked.split(",") if (name := part.strip())))
        )
        unknown = sorted(set(names or []) - registry.keys())
        if unknown or names == []:
            known = ", ".join(registry)
            raise CommandError(
                f"--scanners: unknown scanner {', '.join(unknown) or '(none)'}; known: {known}", returncode=2
            )
        migrate_embedded()
        with acting(command("scan")):
            asset = inventory.asset_at(options["path"])
            scans = services.request_scans(asset, scanners=names, trigger=Scan.Trigger.COMMAND, dispatch=False)
            for scan in scans:
                services.run_scan(scan.pk)
                scan.refresh_from_db()
        used = [scan.scanner for scan in scans]
        open_findings = Finding.objects.unresolved().filter(asset=asset, scanner__in=used).order_by("-severity", "id")
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(asset, scans, open_findings)))
        else:
            self._print(asset, scans, open_findings)
        raise SystemExit(_exit_code(scans, open_findings.exists()))

    def _print(self, asset: Asset, scans: list[Scan], found: "QuerySet[Finding]") -> None:
        for finding in found:
            self.stdout.write(f"{finding.get_severity_display():<9} {finding.place}  {finding.rule} {finding.title}")
        for scan in scans:
            self.stdout.write(
                f"{scan.scanner} {scan.scanner_version or '(no version)'}: {scan.get_state_display().lower()}, "
                f"{scan.files_read} files read, {scan.new} new, {scan.same} same, {scan.fixed} fixed, "
                f"{scan.reopened} reopened"
            )
            if scan.reason:
                self.stderr.write(f"{scan.scanner}: {scan.reason}")
        self.stdout.write(f"{found.count()} open findings on {asset.name}")


def _exit_code(scans: list[Scan], found: bool) -> int:
    scans = [scan for scan in scans if scan.state != ScanState.DOES_NOT_FIT] or scans
    if any(scan.state not in (ScanState.COMPLETED, ScanState.COMPLETED_WITH_ERRORS) for scan in scans):
        return UNKNOWN
    if found:
        return FOUND
    # What could be read is clean, and something could not be read: unknown is never a pass.
    return CLEAN if all(scan.state == ScanState.COMPLETED for scan in scans) else UNKNOWN


def _as_json(asset: Asset, scans: list[Scan], found: "QuerySet[Finding]") -> dict[str, Any]:
    return {
        "asset": {"uid": str(asset.uid), "name": asset.name, "location": asset.location},
        "scanners": [
            {
                "name": scan.scanner,
                "version": scan.scanner_version,
                "state": scan.state,
                "reason": scan.reason,
                "scan": str(scan.uid),
                "files": scan.files_read,
                "new": scan.new,
                "same": scan.same,
                "fixed": scan.fixed,
                "reopened": scan.reopened,
            }
            for scan in scans
        ],
        "findings": [
            {
                "uid": str(finding.uid),
                "scanner": finding.scanner,
                "rule": finding.rule,
                "title": finding.title,
                "severity": finding.severity_word,
                "path": finding.path,
                "line": finding.line,
                "fingerprint": finding.fingerprint,
                "status": finding.status,
            }
            for finding in found
        ],
    }
