from opssight.kernel.events import register

ROLE_ASSIGNED = register("roles:assigned", severity="medium", security=True)
ASSIGNMENT_CHANGED = register("assignments:changed", severity="medium", security=True)
ROLE_REVOKED = register("roles:revoked", severity="medium", security=True)
PERMISSION_DENIED = register("denies:made", severity="medium", security=True)
DENY_LIFTED = register("denies:lifted", severity="medium", security=True)
OBJECT_GRANTED = register("grants:made", severity="medium", security=True)
GRANT_REVOKED = register("grants:revoked", severity="medium", security=True)
MEMBER_ADDED = register("groups:member_added", severity="medium", security=True)
MEMBER_REMOVED = register("groups:member_removed", severity="medium", security=True)
