from opssight.kernel.events import register

FACTOR_ENROLLED = register("mfa:enrolled", security=True)
FACTOR_REFUSED = register("mfa:refused", severity="low", security=True)
CODES_RENEWED = register("mfa:codes_renewed", severity="low", security=True)
STEPPED_UP = register("mfa:stepped_up", security=True)
CODE_USED = register("mfa:code_used", severity="low", security=True)
