"""What people are written to about. A higher app registers its own kinds beside its models."""

import re
from dataclasses import dataclass

_NAME = re.compile(r"^[a-z]+(-[a-z]+)*$")


@dataclass(frozen=True)
class Kind:
    """`says` is what My security tells of it. What is `compulsory` nobody can turn off: it warns of a stranger."""

    name: str
    says: str
    compulsory: bool


registry: dict[str, Kind] = {}


def register(name: str, says: str, *, compulsory: bool = False) -> Kind:
    """Declare a kind. A second declaration of the name, or a wrong name, is a ValueError."""
    if name in registry:
        raise ValueError(f"notices of the kind {name} are registered twice")
    if not _NAME.match(name):
        raise ValueError(f"the kind {name!r} must be lower-case words with hyphens")
    registry[name] = kind = Kind(name, says, compulsory)
    return kind


CODES = register("codes", "Codes that you asked for", compulsory=True)
LINKS = register("links", "Links to set up your account, or to set a new password", compulsory=True)
NEW_DEVICE = register("new-device", "A sign-in on a device not seen before", compulsory=True)
PASSWORD = register("password", "Your password was changed", compulsory=True)
FACTORS = register("factors", "A second factor was added, taken off, or is about to be", compulsory=True)
PROVIDER_LINKED = register("provider-linked", "A provider was linked that can sign in as you", compulsory=True)
TOKEN_REPLAYED = register("token-replayed", "A token of yours was used twice", compulsory=True)
TOKEN_ENDING = register("token-ending", "An API token of yours ends within a week")
