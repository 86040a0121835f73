from opssight.kernel.events import register

SESSION_REVOKED = register("sessions:revoked", severity="low", security=True)
NEW_DEVICE = register("sessions:new_device", severity="low", security=True)
DISOWNED = register("sessions:disowned", severity="high", security=True)
