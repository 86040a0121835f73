from opssight.kernel.events import register

POLICY_CHANGED = register("sla-policies:changed", severity="low")
RENEWED = register("sla-policies:renewed")  # the findings below its unit have their new deadlines
DEADLINE_MOVED = register("findings:deadline_moved")  # by a change of policy
