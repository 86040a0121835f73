"""How strong a second factor is: the levels of the fact "factor", the weakest first."""

LEVELS = ("none", "token", "message", "otp", "passkey")
# What each says to people.
NAMES = {
    "message": "any, a code by message too",
    "otp": "an authenticator app or a passkey",
    "passkey": "a passkey",
}


def is_enough(level: str, needed: str) -> bool:
    """Whether a factor of `level` does where `needed` is asked for; "" asks for none in particular."""
    return not needed or LEVELS.index(level) >= LEVELS.index(needed)
