from opssight.kernel.events import register

DEVICE_REGISTERED = register("devices:registered", severity="low", security=True)
DEVICE_REVOKED = register("devices:revoked", severity="low", security=True)
POSTURE_CHANGED = register("devices:posture_changed", severity="low", security=True)
REPORT_REFUSED = register("devices:report_refused", severity="low", security=True)
