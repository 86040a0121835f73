from opssight.kernel.access import register
from rbac.access.models import AccessTrace, FactorRule, Policy, Zone

register("policies", Policy, ["read", "create", "update", "delete"])
register("zones", Zone, ["read", "create", "update", "delete"])
register("factor-rules", FactorRule, ["read", "create", "update", "delete"])
register("traces", AccessTrace, ["read"])
