from opssight.kernel.access import register
from scanning.triage.models import BulkAction, Comment, Decision

# Deciding is findings:triage, on the finding; so are its owner and its tags, and all of it in bulk.
register("decisions", Decision, ["read", "approve"], unit="asset__unit", granted_on="asset")
register("comments", Comment, ["read", "create"], unit="asset__unit", granted_on="asset")
register("bulk-actions", BulkAction, ["read"], own="done_by")
register("bulk-log", BulkAction, ["read"])  # everybody's
