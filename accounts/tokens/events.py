from opssight.kernel.events import register

TOKEN_ISSUED = register("tokens:issued", severity="medium", security=True)
TOKEN_REVOKED = register("tokens:revoked", security=True)
TOKEN_REFUSED = register("tokens:refused", severity="low", security=True)
