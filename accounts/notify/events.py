from opssight.kernel.events import register

NOTICE_FAILED = register("notices:failed", severity="medium", security=True)
