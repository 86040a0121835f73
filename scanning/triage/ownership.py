"""Whose a finding is, and the short words on it."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction

from accounts.models import User, normalise_email
from opssight.kernel.access import check
from opssight.kernel.events import bulk_record, bulk_write
from scanning.models import Finding
from scanning.triage import events, notices
from scanning.triage.models import Tag
from scanning.triage.services import Incomplete, locked

LONGEST_WORD = 30
MOST_TAGS = 20
CANNOT_SEE = "There is nobody of that name who may see it. The owner of a finding must be able to read it."
TOO_MANY = f"A finding has at most {MOST_TAGS} tags: take one off first."


def normal(word: str) -> str:
    """The one spelling of a tag: " Needs  Review " is "needs-review". Incomplete for what is no short word."""
    if len(word) <= 200:  # who sends more is not worth the work
        text = "-".join(unicodedata.normalize("NFKC", word).casefold().split())
        text = unicodedata.normalize("NFKC", text)
        if 0 < len(text) <= LONGEST_WORD and text[0].isalnum() and all(map(_fits, text)):
            return text
    raise Incomplete(
        f"A tag is a word of at most {LONGEST_WORD} letters and digits. It begins with one, and may have . _ : / + -"
    )


def _fits(character: str) -> bool:
    return character.isalnum() or character in "._:/+-" or unicodedata.category(character) in ("Mn", "Mc")


def person(*, uid: Any = None, email: str = "") -> User:
    """Somebody who could be an owner. Incomplete alike for who is not there and, later, who may not see the finding."""
    people = User.objects.filter(kind=User.Kind.PERSON)
    found = people.filter(uid=uid).first() if uid else people.filter(email=normalise_email(email)).first()
    if found is None:
        raise Incomplete(CANNOT_SEE)
    return found


def named(text: str, *, by: Any) -> Any:
    """Whom a form's field means: an address, `me`, or nobody for an empty one."""
    text = text.strip()
    if not text:
        return None
    return by if text.lower() == "me" else person(email=text)


@transaction.atomic
def assign(finding: Finding, owner: User | None, *, by: Any) -> Finding:
    """Make it somebody's, or nobody's. Incomplete where the person may not see it."""
    finding = locked(finding)
    check(by, "findings:triage", finding)
    if owner is not None and not notices.may_see(owner, finding):
        raise Incomplete(CANNOT_SEE)
    if finding.owner_id == (owner and owner.pk):
        return finding
    give([finding], {finding.pk: owner})
    notices.assigned(finding, by)
    return finding


def give(rows: Sequence[Finding], owners: dict[int, Any]) -> None:
    """Each finding to the owner that its key names; locked by the caller."""
    was = {finding.pk: finding.owner_id for finding in rows}
    for finding in rows:
        finding.owner = owners[finding.pk]
    with bulk_write():
        Finding.objects.bulk_update(rows, ["owner"])
        told = ((finding, {"owner": [was[finding.pk], finding.owner_id]}) for finding in rows)
        bulk_record(events.FINDING_ASSIGNED, told)


@transaction.atomic
def retag(finding: Finding, *, by: Any, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Finding:
    """Put tags on and take others off; what is there, or is not, stays so. Incomplete for a wrong word or too many."""
    added, removed = {normal(word) for word in add}, {normal(word) for word in remove}
    finding = locked(finding)
    check(by, "findings:triage", finding)
    had = set(finding.tags.values_list("word", flat=True))
    has = (had | added) - removed
    if len(has) > max(MOST_TAGS, len(had)):
        raise Incomplete(TOO_MANY)
    if has != had:
        finding.tags.filter(word__in=had - has).delete()
        Tag.objects.bulk_create(Tag(finding=finding, word=word) for word in sorted(has - had))
        bulk_record(events.FINDING_TAGGED, [(finding, {"tags": [told(had), told(has)]})])
    return finding


def told(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
