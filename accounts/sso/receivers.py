"""A session that a provider began is kept beside its row, so that the provider can end it."""

from typing import Any

from django.dispatch import receiver

from accounts.events import SIGNED_IN
from accounts.pending import via
from accounts.sso.models import ProviderLogin
from opssight.kernel.actor import current_request
from opssight.kernel.events import Occurrence, happened


@receiver(happened)
def signed_in(occurrence: Occurrence, **kwargs: Any) -> None:
    if occurrence.event is not SIGNED_IN or (request := current_request()) is None:
        return
    if kept := via(request):
        begun = ProviderLogin(
            login=request.login,  # type: ignore[attr-defined]  # made by the receiver of logins, which came first
            identity_id=kept["identity"],
            sid=kept["sid"],
        )
        if kept["id_token"]:
            begun.id_token = kept["id_token"]
        begun.save()
