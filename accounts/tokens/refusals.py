"""What is said of a token that is not taken: whether it has expired, and nothing else."""

from opssight.kernel.errors import Refusal


class NotAccepted(Refusal):
    """Unknown, forged, revoked, replayed, of an account that is out, from elsewhere: all read the same."""

    status = 401
    more = {"type": "urn:opssight:problem:invalid-token", "title": "Invalid token"}

    def __init__(self, detail: str = "Invalid token. Sign in again, or make a new token.") -> None:
        super().__init__(detail)


class Expired(NotAccepted):
    more = {"type": "urn:opssight:problem:token-expired", "title": "Token has expired"}

    def __init__(self) -> None:
        super().__init__("Token has expired. Refresh it, sign in again, or make a new one.")


class NotProved(Refusal):
    """One answer for a wrong name, password or code, so that none of them can be told from it."""

    status = 401

    def __init__(self) -> None:
        super().__init__("E-mail, password or code is not right.")


class LockedOut(Refusal):
    status = 429

    def __init__(self) -> None:
        super().__init__("Too many failures from here. Wait a while, then try again.")
