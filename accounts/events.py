from opssight.kernel.events import register

ACCOUNT_CREATED = register("accounts:created")
ACCOUNT_DEACTIVATED = register("accounts:deactivated", severity="medium", security=True)
ACCOUNT_ACTIVATED = register("accounts:activated", severity="medium", security=True)
SETUP_LINK_ISSUED = register("setup:issued", severity="medium", security=True)
SETUP_LINK_USED = register("setup:used", severity="medium", security=True)
SIGNED_IN = register("sessions:started", security=True)
SIGNED_OUT = register("sessions:ended", security=True)
SIGN_IN_FAILED = register("sessions:refused", severity="low", security=True)
LOCKED_OUT = register("accounts:locked", severity="medium", security=True)
LOCK_LIFTED = register("accounts:unlocked", severity="medium", security=True)
PASSWORD_CHANGED = register("passwords:changed", severity="low", security=True)
RESET_REQUESTED = register("passwords:reset_requested", severity="low", security=True)
