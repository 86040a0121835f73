from audit.models import AuditEntry
from opssight.kernel.access import register

register("trail", AuditEntry, ["read", "report"])
