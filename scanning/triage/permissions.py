from opssight.kernel.access import register
from scanning.triage.models import Decision

# Deciding is findings:triage, on the finding.
register("decisions", Decision, ["read", "approve"], unit="asset__unit", granted_on="asset")
