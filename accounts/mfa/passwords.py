"""What a password must be (NIST SP 800-63B-4 §3.1.1): long, not known to be common, and not easy to guess. No rules of
composition, and no age at which it must change."""

import hashlib
import os
from typing import Any

import zxcvbn
from django.conf import settings
from django.core.exceptions import ValidationError

from accounts.mfa.services import is_enrolled
from accounts.models import User

ALONE, WITH_FACTOR = 15, 8
# zxcvbn's "safely unguessable" (10^8 guesses) where it stands alone; beside a factor, and with tries that are counted,
# "somewhat guessable" (10^6) will do, or eight characters never could.
SCORES = {ALONE: 3, WITH_FACTOR: 2}
LOOKED_AT = 64  # characters; what comes behind them can only make it stronger, and the estimate takes time


def least_length(user: User | None) -> int:
    return WITH_FACTOR if user is not None and user.pk and is_enrolled(user) else ALONE


class Length:
    """Eight characters where a second factor stands beside the password, fifteen where it stands alone."""

    def validate(self, password: str, user: User | None = None) -> None:
        least = least_length(user)
        if len(password) < least:
            alone = " while no second factor stands beside it" if least == ALONE else ""
            raise ValidationError(
                f"This password is too short: it must have {least} characters or more{alone}.",
                code="password_too_short",
            )

    def get_help_text(self) -> str:
        return f"{WITH_FACTOR} characters or more beside a second factor, {ALONE} without."


class Strength:
    """zxcvbn's estimate, which also knows the person's and the product's own words."""

    def validate(self, password: str, user: User | None = None) -> None:
        found = zxcvbn.zxcvbn(password[:LOOKED_AT], user_inputs=_own_words(user), max_length=LOOKED_AT)
        if found["score"] >= SCORES[least_length(user)]:
            return
        advice = [found["feedback"]["warning"].rstrip("."), *found["feedback"]["suggestions"]]
        told = " ".join(f"{sentence.rstrip('.')}." for sentence in advice if sentence)
        raise ValidationError(f"This password is easy to guess. {told}".strip(), code="password_too_weak")

    def get_help_text(self) -> str:
        return "Not easy to guess; a sentence of your own is good."


def _own_words(user: User | None) -> list[str]:
    words = ["opssight", settings.MFA_ISSUER, *settings.MFA_ISSUER.split()]
    if user is not None:
        name, _, host = user.email.partition("@")
        words += [user.email, name, *name.replace("-", ".").replace("_", ".").split("."), *host.split(".")]
        words += user.name.split()
    return [word.lower() for word in words if len(word) > 2]


class Known:
    """A file of SHA-1 digests of leaked passwords, sorted, one a line, as "Pwned Passwords" offers it ordered by hash.

    Searched by halving, so that a list of forty gigabytes costs some forty reads; nothing leaves the machine.
    """

    def validate(self, password: str, user: User | None = None) -> None:
        path = settings.LEAKED_PASSWORDS
        if path and stands_in(path, hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()):
            raise ValidationError("This password is on a list of leaked ones. Take another.", code="password_leaked")

    def get_help_text(self) -> str:
        return "Not on the list of leaked passwords."


def stands_in(path: Any, digest: str) -> bool:
    """Whether a line of the sorted file begins with `digest`."""
    wanted = digest.encode()
    with open(path, "rb") as file:
        low, high = 0, os.fstat(file.fileno()).st_size
        while low < high:  # what begins before `low` is smaller, what begins at `high` or behind is not
            middle = (low + high) // 2
            file.seek(max(middle - 1, 0))
            if middle:
                file.readline()  # to the first line that begins at the middle or behind
            begins = file.tell()
            line = file.readline()
            if begins < high and line[:40].upper() < wanted:
                low = begins + len(line)
            else:
                high = middle
        file.seek(low)
        return file.readline()[:40].upper() == wanted
