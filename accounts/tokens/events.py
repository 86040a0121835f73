from opssight.kernel.events import register

TOKEN_ISSUED = register("tokens:issued", severity="medium", security=True)
TOKEN_ROTATED = register("tokens:rotated", severity="medium", security=True)
TOKEN_REVOKED = register("tokens:revoked", security=True)
TOKEN_REFUSED = register("tokens:refused", severity="low", security=True)
TOKEN_REFRESHED = register("tokens:refreshed", security=True)
TOKEN_REPLAYED = register("tokens:replayed", severity="high", security=True)
KEY_ROTATED = register("signing-keys:rotated", severity="medium", security=True)
