from opssight.kernel.events import register

REVEALED = register("personal:revealed", severity="medium", security=True)
COLLECTION_CHANGED = register("personal:collection_changed", severity="medium", security=True)
