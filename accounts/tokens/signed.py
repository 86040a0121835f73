"""JWTs (RFC 7519, RFC 8725): simplejwt's tokens over keys that have an id."""

import re
from typing import Any
from uuid import UUID

import jwt
from django.conf import settings
from rest_framework_simplejwt import tokens
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken

from accounts.tokens import keys
from opssight.kernel.crypto import Undecryptable

MAX_LENGTH = 4096  # characters; ours have some 700
LATEST = 2**33  # seconds since 1970: the year 2242
AUDIENCE = f"{settings.BASE_URL}/api"
_KID, _JTI = re.compile(r"^[0-9a-f]{16}$"), re.compile(r"^[0-9a-f]{32}$")
_WRONG = (jwt.PyJWTError, Undecryptable, ValueError, TypeError, KeyError, OverflowError, RecursionError)


class KeyRing(TokenBackend):
    """Signs with the newest key and verifies with the one that the token names, if it is accepted.

    The algorithm is the configured one whatever the token says, and nothing else in its header is looked at.
    """

    def __init__(self) -> None:
        super().__init__(settings.JWT_ALGORITHM, audience=AUDIENCE, issuer=settings.BASE_URL)

    def encode(self, payload: dict[str, Any]) -> str:
        key = keys.signing()
        claims = {**payload, "aud": self.audience, "iss": self.issuer}
        return jwt.encode(claims, key.private, algorithm=key.algorithm, headers={"kid": key.kid})

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        """The claims, each of its own type; TokenBackendError and TokenBackendExpiredToken."""
        try:
            if len(token) > MAX_LENGTH:
                raise ValueError("too long")
            kid = jwt.get_unverified_header(token)["kid"]
            key = keys.find(kid) if _KID.match(kid) else None
            if key is None:
                raise ValueError("no such key")
            claims = jwt.decode(
                token,
                keys.verifier(key),
                algorithms=[key.algorithm],
                audience=self.audience,
                issuer=self.issuer,
                options={"require": ["exp", "iat", "sub", "jti"], "strict_aud": True},
            )
            _check(claims)
        except jwt.ExpiredSignatureError as error:
            raise TokenBackendExpiredToken("Token has expired") from error
        except _WRONG as error:
            raise TokenBackendError("Invalid token") from error
        return claims


def _check(claims: dict[str, Any]) -> None:
    """ValueError, TypeError or KeyError where a claim is missing, of another type, or beyond what a time can be."""
    strings = [claims[name] for name in ("type", "jti", "sub", "sid")]
    strings += [*_list(claims["amr"]), *_list(claims.get("permissions", []))]
    numbers = [claims[name] for name in ("iat", "exp", "auth_time", "epoch")]
    if not all(type(value) is str for value in strings) or not all(type(value) is int for value in numbers):
        raise TypeError("a claim is of another type")
    if not all(0 <= value < LATEST for value in numbers):
        raise ValueError("a number is out of range")
    if not _JTI.match(claims["jti"]):
        raise ValueError("no id of ours")
    for name in ("sub", "sid"):
        UUID(claims[name])


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


class AccessToken(tokens.AccessToken):
    def get_token_backend(self) -> TokenBackend:
        return KeyRing()


class RefreshToken(tokens.RefreshToken):
    def get_token_backend(self) -> TokenBackend:
        return KeyRing()
