"""The lost phone: taking every factor off an account, by two people, so that its owner begins anew.

Whoever asks says how they made sure who it is; a second person decides. The password goes with the factors, so that
the way back is the link in the account's own mailbox and nothing that a stranger may know.
"""

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.mfa import events, services
from accounts.mfa.models import FactorReset
from accounts.models import User
from accounts.notify import kinds
from accounts.notify.services import notify
from accounts.services import send_new_beginning
from opssight.kernel.errors import Refusal

State = FactorReset.State


class NotThisOne(Refusal):
    status = 409


class NeedsAnother(Refusal):
    status = 403


def ask_reset(user: User, *, note: str, by: User) -> FactorReset:
    """Ask that all second factors of `user` be taken off. The account's mailbox is told at once."""
    if user.kind != User.Kind.PERSON or not user.is_active:
        raise NotThisOne("Only an active person's account has second factors to take off.")
    if user == by:
        raise NeedsAnother("Nobody asks for themselves: whoever has lost everything is vouched for by somebody else.")
    reset = FactorReset(user=user, note=note, asked_by=by)
    reset.full_clean(validate_constraints=False)
    try:
        with transaction.atomic():
            reset.save()
            events.RESET_ASKED.emit(target=reset, account=user.email)
            notify(
                user,
                kinds.FACTORS,
                "Your second factors are about to be taken off",
                "Somebody told us that you lost them. If that was not you, tell your security officer at once: a "
                "second person is about to decide.",
            )
    except IntegrityError:
        raise NotThisOne(f"A reset for {user.email} waits for a decision already.") from None
    return reset


@transaction.atomic
def approve_reset(reset: FactorReset, *, by: User) -> None:
    """Take everything off, end every session, and send the account's owner a link to begin anew."""
    reset = _decide(reset, State.APPROVED, by)
    user = User.objects.select_for_update().get(pk=reset.user_id)
    services.remove_all(user)
    user.set_unusable_password()
    user.save(update_fields=["password"])  # which ends everything
    events.RESET_APPROVED.emit(target=reset, account=user.email)
    send_new_beginning(user)


@transaction.atomic
def refuse_reset(reset: FactorReset, *, by: User) -> None:
    """Leave everything as it is. Whoever asked may take it back."""
    reset = _decide(reset, State.REFUSED, by)
    events.RESET_REFUSED.emit(target=reset, account=reset.user.email)


def _decide(reset: FactorReset, state: str, by: User) -> FactorReset:
    locked = FactorReset.objects.select_for_update().select_related("user").get(pk=reset.pk)
    if locked.state != State.OPEN:
        raise NotThisOne(f"This was decided already: {locked.get_state_display().lower()}.")
    if by.pk == locked.user_id or (state == State.APPROVED and by.pk == locked.asked_by_id):
        raise NeedsAnother("It takes a second person: neither the one who asked nor the one it is about.")
    locked.state, locked.decided_by, locked.decided_at = state, by, timezone.now()
    locked.save(update_fields=["state", "decided_by", "decided_at"])
    return locked
