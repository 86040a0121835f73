from scanning.models.assets import Asset, AssetGroupGrant, AssetQuerySet, AssetUserGrant, RetiredTool
from scanning.models.findings import SOON, Finding, FindingAlias, FindingQuerySet, Severity, Status
from scanning.models.scans import FRESH_FOR, Scan, ScanQuerySet, ScanState, stands_as

__all__ = [
    "FRESH_FOR", "SOON", "Asset", "AssetGroupGrant", "AssetQuerySet", "AssetUserGrant", "Finding", "FindingAlias",
    "FindingQuerySet", "RetiredTool", "Scan", "ScanQuerySet", "ScanState", "Severity", "Status",
    "stands_as",
]  # fmt: skip
