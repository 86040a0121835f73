from opssight.kernel.access import register
from scanning.imports.models import Import

register("imports", Import, ["read", "create", "undo"], unit="asset__unit", granted_on="asset")
