from opssight.kernel.access import register
from scanning.sla.models import SlaPolicy

register("sla-policies", SlaPolicy, ["read", "create", "update", "delete"], unit="unit")
