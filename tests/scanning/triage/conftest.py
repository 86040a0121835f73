import pytest

from scanning import findings
from scanning.inventory import asset_at
from scanning.models import Asset, Finding, Scan, Severity
from scanning.scanners.base import RawFinding
from scanning.services import request_scan

WHY = "The service is not reachable from outside."


def scanned(asset: Asset, *lines: int) -> Scan:
    scan = Scan.claim(request_scan(asset, dispatch=False).pk)
    findings.record(
        scan,
        [RawFinding("B602", "shell", "", Severity.HIGH, "shop.py", line, flagged=f"call({line})") for line in lines],
    )
    findings.close_missing(scan)
    scan.finish("completed")
    return scan


@pytest.fixture
def asset(db: None, tmp_path) -> Asset:
    return asset_at(tmp_path)


@pytest.fixture
def finding(asset) -> Finding:
    scanned(asset, 1, 2)
    return Finding.objects.get(line=1)


def status_of(finding: Finding) -> str:
    return Finding.objects.get(pk=finding.pk).status
