from opssight.kernel.events import register

POLICY_CHANGED = register("policies:changed", severity="medium", security=True)
ZONE_CHANGED = register("zones:changed", severity="medium", security=True)
