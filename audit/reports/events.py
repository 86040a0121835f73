from opssight.kernel.events import register

TRAIL_REPORTED = register("trail:reported")
