from opssight.kernel.events import register

FINDING_TRIAGED = register("findings:triaged")
ACCEPTANCE_ASKED = register("findings:acceptance_asked")
ACCEPTANCE_REFUSED = register("findings:acceptance_refused")
FINDING_WOKEN = register("findings:woken", severity="low")  # an acceptance ran out
