from opssight.kernel.events import register

ROLE_ASSIGNED = register("roles:assigned", severity="medium", security=True)
