from opssight.kernel.events import register

QUARANTINED = register("trail:quarantined", severity="critical", security=True)
STOPPED = register("trail:stopped", severity="critical", security=True)
ANCHOR_FAILED = register("trail:anchor_failed", severity="high", security=True)
ANCHOR_RECOVERED = register("trail:anchor_recovered")
TRAIL_VERIFIED = register("trail:verified")
TRAIL_TAMPERED = register("trail:tampered", severity="critical", security=True)
