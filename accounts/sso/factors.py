"""The second factor of a provider: what of its word counts as one, who has proved one, and who may prove it again."""

from typing import Any

from django.http import HttpRequest

from accounts.sso.groups import claims_of
from accounts.sso.models import Identity, Provider, ProviderLogin
from accounts.strength import is_enough


def counts(provider: Provider, claims: dict[str, Any]) -> bool:
    """Whether this sign-in over there is a second factor here: by the values that the provider's row names."""
    said: Any = claims.get("amr")
    values = [*(said if isinstance(said, list) else []), claims.get("acr")]
    told = {value for value in values if isinstance(value, str)}
    return bool(provider.factor_level and told & set(provider.factor_values))


def people_with(level: str) -> set[int]:
    """Accounts whose provider said when they last came from there that it saw a factor of `level`. Known only by
    decrypting, so for rehearsals and not for requests."""
    linked = Identity.objects.filter(provider__is_enabled=True).exclude(provider__factor_level="")
    return {
        identity.user_id
        for identity in linked.select_related("provider", "user")
        if is_enough(identity.level, level) and counts(identity.provider, claims_of(identity) or {})
    }


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
