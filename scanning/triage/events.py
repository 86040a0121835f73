from opssight.kernel.events import register

FINDING_TRIAGED = register("findings:triaged")
FINDING_ASSIGNED = register("findings:assigned")
FINDING_TAGGED = register("findings:tagged")
FINDING_COMMENTED = register("findings:commented")
ACCEPTANCE_ASKED = register("findings:acceptance_asked")
ACCEPTANCE_REFUSED = register("findings:acceptance_refused")
FINDING_WOKEN = register("findings:woken", severity="low")  # an acceptance ran out
DECISION_MADE = register("decisions:made")  # one of many at once; its finding has an entry of its own
DECISION_CLOSED = register("decisions:closed")  # an acceptance that nobody has answered and nobody can any more
DECISION_REOPENED = register("decisions:reopened")  # what closed it was undone: it waits again
