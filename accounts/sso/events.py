from opssight.kernel.events import register

REFUSED = register("sso:refused", severity="low", security=True)
LINKED = register("sso:linked", severity="medium", security=True)
UNLINKED = register("sso:unlinked", severity="medium", security=True)
GROUPS_CHANGED = register("sso:groups_changed", severity="medium", security=True)
ENDED_BY_PROVIDER = register("sso:ended_by_provider", severity="low", security=True)
OTHER_WAYS_ENDED = register("sso:other_ways_ended", severity="medium", security=True)
LOGOUT_REFUSED = register("sso:logout_refused", severity="medium", security=True)
PROVIDER_CHANGED = register("providers:changed", severity="high", security=True)
PROVIDER_REMOVED = register("providers:removed", severity="high", security=True)
RULE_CHANGED = register("claim-rules:changed", severity="high", security=True)
