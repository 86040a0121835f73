from opssight.kernel.access import register, register_grants
from scanning.models import Asset, AssetGroupGrant, AssetUserGrant, Finding, Scan

register("assets", Asset, ["read", "create", "update"], unit="unit", granted_on="pk")
register("scans", Scan, ["read", "create"], unit="asset__unit", granted_on="asset")
register("findings", Finding, ["read", "triage"], unit="asset__unit", granted_on="asset")
register_grants(Asset, AssetUserGrant, AssetGroupGrant)
