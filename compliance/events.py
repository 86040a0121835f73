from opssight.kernel.events import register

CONTROL_EVALUATED = register("controls:evaluated")
CONTROL_FAILED = register("controls:failed", severity="medium")
CONTROL_LOST = register("controls:lost", severity="low")
CONTROL_RECOVERED = register("controls:recovered")
