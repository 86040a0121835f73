from opssight.kernel.events import register

ASSET_UPLOADED = register("assets:uploaded")
TOOL_RETIRED = register("assets:tool_retired", severity="low")  # its runs say nothing of the asset any more
TOOL_RETURNED = register("assets:tool_returned")
SCAN_REQUESTED = register("scans:requested")
SCAN_STARTED = register("scans:started")
SCAN_FINISHED = register("scans:finished")
SCAN_FAILED = register("scans:failed", severity="medium")
FINDING_RAISED = register("findings:raised")
FINDING_FIXED = register("findings:fixed")
FINDING_REOPENED = register("findings:reopened", severity="low")
FINDING_RERATED = register("findings:rerated")  # its scanner thinks otherwise of its severity now
FINDING_RESTORED = register("findings:restored")  # as it was before what was undone
