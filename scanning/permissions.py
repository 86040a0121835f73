from opssight.kernel.access import register
from scanning.models import Asset, Finding, Scan

register("assets", Asset, ["read", "create", "update"], unit="unit")
register("scans", Scan, ["read", "create"], unit="asset__unit")
register("findings", Finding, ["read", "triage"], unit="asset__unit")
