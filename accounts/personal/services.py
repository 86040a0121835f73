"""Telephone number and national ID: set by their owner, shown masked, revealed with a reason that is recorded."""

import logging
import re

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.mfa.messages import parsed_number
from accounts.models import User
from accounts.personal import events
from accounts.personal.models import UNREADABLE, Collection, PersonalDetails
from opssight.kernel.crypto import Undecryptable
from opssight.kernel.errors import Refusal

log = logging.getLogger("opssight.personal")

FIELDS = ("phone_number", "ssn")
REASON = (10, 300)  # characters, least and most
_NATIONAL_ID = re.compile(r"^[A-Z0-9]{6,24}$")


class NotCollected(Refusal):
    status = 409


class NothingKept(Refusal):
    status = 404


class Unreadable(Refusal):
    status = 409


def collects_ssn() -> bool:
    return Collection.objects.filter(name=Collection.Name.SSN, enabled=True).exists()


def details_of(user: User) -> PersonalDetails | None:
    return PersonalDetails.objects.filter(user=user).first()


def parsed_national_id(text: str) -> str:
    """Capitals and digits; what else people write between them means nothing. ValidationError."""
    tidied = re.sub(r"[\s./-]", "", text).upper()
    if not tidied.isascii() or not _NATIONAL_ID.match(tidied):
        raise ValidationError("A national ID number has 6 to 24 letters and digits.")
    return tidied


@transaction.atomic
def set_own(user: User, *, phone_number: str | None = None, ssn: str | None = None) -> PersonalDetails:
    """Set what is given; "" erases. ValidationError by field, NotCollected where the officer has not turned it on."""
    if ssn and not collects_ssn():
        raise NotCollected("National ID numbers are not collected here.")
    errors, values = {}, {}
    for name, given, parse in (("phone_number", phone_number, parsed_number), ("ssn", ssn, parsed_national_id)):
        if given is None:
            continue
        try:
            values[name] = parse(given) if given.strip() else ""
        except ValidationError as error:
            errors[name] = error.messages
    if errors:
        raise ValidationError(errors)
    User.objects.select_for_update().get(pk=user.pk)  # two at once must not both make the row
    details = details_of(user) or PersonalDetails(user=user)
    for name, value in values.items():
        if value:
            setattr(details, name, value)
        else:
            setattr(details, f"{name}_encrypted", "")
    details.save()
    return details


@transaction.atomic
def reveal(details: PersonalDetails, name: str, *, reason: str) -> str:
    """The value in the clear, and the entry that says who saw it and why; without the entry there is no value."""
    try:
        value = details.value(name)
    except Undecryptable:
        log.error(
            "personal details %s: %s can't be decrypted; see manage.py rotate_field_keys --check", details.uid, name
        )
        raise Unreadable("What is kept there can't be read any more. Its owner can enter it anew.") from None
    if not value or (name == "ssn" and not collects_ssn()):
        raise NothingKept("Nothing is kept there.")
    events.REVEALED.emit(target=details.user, field=name, reason=reason)
    return value


@transaction.atomic
def own_in_full(user: User) -> dict[str, str]:
    """What is kept of oneself, in the clear. It leaves entries as well: a session may be in other hands."""
    details = details_of(user)
    if details is None:
        return {}
    legible = [name for name in FIELDS if getattr(details, f"shown_{name}") not in ("", UNREADABLE)]
    return {name: reveal(details, name, reason="one's own") for name in legible}


@transaction.atomic
def save_collection(collection: Collection) -> Collection:
    """Turn a collection on or off. Off erases what was kept."""
    collection.full_clean()
    collection.save()
    erased = 0
    if not collection.enabled:
        for details in PersonalDetails.objects.select_for_update().exclude(ssn_encrypted=""):
            details.ssn_encrypted = ""
            details.save()
            erased += 1
    told = {"name": collection.name, "enabled": collection.enabled, "reason": collection.reason, "erased": erased}
    events.COLLECTION_CHANGED.emit(target=collection, **told)
    return collection
