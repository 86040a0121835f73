from opssight.kernel.events import register

TRAIL_EXPORTED = register("trail:exported", severity="low", security=True)
TRAIL_REPORTED = register("trail:reported")
TRAIL_RECOUNTED = register("trail:recounted", severity="medium", security=True)
