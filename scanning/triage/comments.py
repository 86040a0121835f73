"""What people say about a finding."""

from typing import Any

from django.db import transaction
from django.utils import timezone

from opssight.kernel.access import check
from scanning.models import Finding
from scanning.triage import events, notices
from scanning.triage.models import Comment
from scanning.triage.services import Incomplete, NotPossible, locked

LONGEST = 4000


@transaction.atomic
def comment(finding: Finding, text: str, *, by: Any) -> Comment:
    finding = locked(finding)
    said = Comment(finding=finding, asset=finding.asset, author=by, text=_told(text))
    check(by, "comments:create", said, about=finding)
    said.save()
    events.FINDING_COMMENTED.emit(target=finding, comment=str(said.uid))
    notices.commented(said)
    return said


@transaction.atomic
def edit(said: Comment, text: str, *, by: Any) -> Comment:
    """Another text, which shows. NotPossible for anybody but the author."""
    said = Comment.objects.select_for_update(of=("self",)).select_related("finding", "asset").get(pk=said.pk)
    check(by, "comments:create", said, about=said.finding)
    if said.author_id != by.pk:
        raise NotPossible("Only its author can change a comment.")
    if (text := _told(text)) != said.text:
        said.text, said.edited_at = text, timezone.now()
        said.save(update_fields=["text", "edited_at"])
    return said


def _told(text: str) -> str:
    text = text.replace("\r\n", "\n").strip()
    if not text or len(text) > LONGEST:
        raise Incomplete(f"A comment has 1 to {LONGEST:,} characters.")
    return text
