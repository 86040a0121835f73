from opssight.kernel.events import register

IMPORT_UNDONE = register("imports:undone", severity="low")
FINDING_WITHDRAWN = register("findings:withdrawn")  # it was known from an undone import alone
