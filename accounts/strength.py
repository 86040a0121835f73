"""How strong a second factor is: the levels of the fact "factor", the weakest first; and how a sign-in names it."""

LEVELS = ("none", "token", "message", "otp", "passkey")
# What each is to people, and what does where it is asked for.
NAMES = {"message": "a code by message", "otp": "an authenticator app", "passkey": "a passkey"}
DEMANDS = {
    "message": "any second factor",
    "otp": "an authenticator app or a passkey",
    "passkey": "a passkey",
}


def is_enough(level: str, needed: str) -> bool:
    """Whether a factor of `level` does where `needed` is asked for; "" asks for none in particular."""
    return not needed or LEVELS.index(level) >= LEVELS.index(needed)


# By the method of a factor, its name in RFC 8176. A code by e-mail has none of its own; a provider's
# word has none either, and is called fed by Entra and others.
_AMR = {"sms": "sms", "passkey": "hwk", "sso": "fed"}


def proved(method: str, *, first: str = "") -> list[str]:
    """What a sign-in with this factor proved, as `amr` values (RFC 8176). `first` is what came before it."""
    return [*dict.fromkeys([*([first] if first else []), _AMR.get(method, "otp"), "mfa"])]
