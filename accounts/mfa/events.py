from opssight.kernel.events import register

FACTOR_ENROLLED = register("mfa:enrolled", security=True)
FACTOR_REFUSED = register("mfa:refused", severity="low", security=True)
CODES_RENEWED = register("mfa:codes_renewed", severity="low", security=True)
CODE_USED = register("mfa:code_used", severity="low", security=True)
