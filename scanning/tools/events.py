from opssight.kernel.events import register

INSTALL_REQUESTED = register("scanners:install_requested")
INSTALLED = register("scanners:installed", severity="low")
INSTALL_FAILED = register("scanners:install_failed", severity="medium")
