"""A sign-in by a provider is done: it is kept beside the session's row, so that the provider can end it."""

from typing import Any

from django.dispatch import receiver

from accounts.events import SIGNED_IN
from accounts.logins.services import keep
from accounts.pending import via
from accounts.sso import services
from accounts.sso.models import Identity, ProviderLogin
from opssight.kernel.actor import current_request
from opssight.kernel.events import Occurrence, happened


@receiver(happened)
def signed_in(occurrence: Occurrence, **kwargs: Any) -> None:
    if occurrence.event is not SIGNED_IN or (request := current_request()) is None:
        return
    if kept := via(request):
        identity = Identity.objects.select_related("user", "provider").get(pk=kept["identity"])
        begun = ProviderLogin(
            login=request.login,  # type: ignore[attr-defined]  # made by the receiver of logins, which came first
            identity=identity,
            sid=kept["sid"],
        )
        if kept["id_token"]:
            begun.id_token = kept["id_token"]
        begun.save()
        services.signed_in(identity)
        keep(request, identity.user)  # other groups end all sessions but this one
