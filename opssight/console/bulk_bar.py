"""What the queue says of bulk actions: whether findings can be chosen, and the one that can still be undone."""

from typing import Any

from django.utils import timezone

from opssight.kernel.access import decide
from scanning.triage.models import BulkAction


def bar(user: Any) -> dict[str, Any]:
    if not decide(user, "findings:triage").allowed:
        return {}
    rows = BulkAction.objects.filter(done_by=user).undoable(at=timezone.now()).select_related("owner")
    return {"may_choose": True, "undoable": rows.order_by("-done_at").first()}
