"""How strong a second factor is: the levels of the fact "factor", the weakest first."""

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
