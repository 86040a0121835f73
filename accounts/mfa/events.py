from opssight.kernel.events import register

FACTOR_ENROLLED = register("mfa:enrolled", security=True)
FACTOR_REMOVED = register("mfa:removed", severity="low", security=True)
FACTOR_REFUSED = register("mfa:refused", severity="low", security=True)
FACTOR_UNREADABLE = register("mfa:unreadable", severity="medium", security=True)
CODE_SENT = register("mfa:code_sent", security=True)
CODE_USED = register("mfa:code_used", severity="low", security=True)
CODES_RENEWED = register("mfa:codes_renewed", severity="low", security=True)
STEPPED_UP = register("mfa:stepped_up", security=True)
RESET_ASKED = register("mfa:reset_asked", severity="medium", security=True)
RESET_APPROVED = register("mfa:reset_approved", severity="medium", security=True)
RESET_REFUSED = register("mfa:reset_refused", severity="low", security=True)
