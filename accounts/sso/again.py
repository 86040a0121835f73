"""The second factor again, by the provider that began the session: who signed in there does so once more."""

from django.http import HttpRequest

from accounts.sso.models import ProviderLogin
from accounts.strength import is_enough


def offered(request: HttpRequest, level: str = "") -> ProviderLogin | None:
    """What a provider began here and can prove again, where its factor counts as one of `level`."""
    login = getattr(request, "login", None)
    if login is None:
        return None
    begun = (
        ProviderLogin.objects.filter(login=login, identity__provider__is_enabled=True)
        .exclude(identity__provider__factor_level="")
        .select_related("identity__provider", "identity__user")
        .first()
    )
    return begun if begun is not None and is_enough(begun.identity.level, level) else None
