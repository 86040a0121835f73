from opssight.kernel.events import register

POLICY_CHANGED = register("policies:changed", severity="medium", security=True)
ZONE_CHANGED = register("zones:changed", severity="medium", security=True)
FACTOR_RULE_CHANGED = register("factor-rules:changed", severity="medium", security=True)
