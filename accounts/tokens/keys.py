"""The keys that sign JWTs: made when first needed, rotated with an overlap, published where they are public."""

import json
import secrets
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from jwt import get_algorithm_by_name

from accounts.tokens import events
from accounts.tokens.models import SigningKey

RSA_BITS = 3072  # NIST SP 800-57 part 1, beyond 2030


def _new_private() -> str:
    """PEM, or for HS256 a random secret."""
    if settings.JWT_ALGORITHM == "HS256":
        return secrets.token_urlsafe(48)
    key = Ed25519PrivateKey.generate() if settings.JWT_ALGORITHM == "EdDSA" else generate_private_key(65537, RSA_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _make() -> SigningKey:
    key = SigningKey(kid=secrets.token_hex(8), algorithm=settings.JWT_ALGORITHM)
    key.private = _new_private()
    key.save()
    return key


def signing() -> SigningKey:
    """The newest key; of two made at the same first moment the later signs, and both are accepted."""
    return SigningKey.objects.accepted(at=timezone.now()).filter(accepted_until=None).order_by("-pk").first() or _make()


def find(kid: str) -> SigningKey | None:
    return SigningKey.objects.accepted(at=timezone.now()).filter(kid=kid).first()


def verifier(key: SigningKey) -> Any:
    """What checks a signature: the public half, drawn from the encrypted private one.

    So a row that somebody without OPSSIGHT_FIELD_KEYS slips into the table verifies nothing: it raises Undecryptable.
    """
    if key.algorithm == "HS256":
        return key.private
    return load_pem_private_key(key.private.encode(), password=None).public_key()


def published() -> list[dict[str, Any]]:
    """The JWK set (RFC 7517) for whoever checks our tokens. A shared secret is never in it."""
    if settings.JWT_ALGORITHM == "HS256":
        return []
    algorithm: Any = get_algorithm_by_name(settings.JWT_ALGORITHM)
    return [
        {**json.loads(algorithm.to_jwk(verifier(key))), "kid": key.kid, "alg": key.algorithm, "use": "sig"}
        for key in SigningKey.objects.accepted(at=timezone.now()).order_by("-pk")
    ]


@transaction.atomic
def rotate(*, at_once: bool = False) -> SigningKey:
    """Sign with a new key from now on. The earlier ones are accepted for as long as what they signed can live.

    `at_once` they count no more, which ends every JWT.
    """
    now = timezone.now()
    until = now if at_once else now + settings.JWT_REFRESH_LIFETIME
    for old in SigningKey.objects.accepted(at=now):
        old.accepted_until = min(old.accepted_until or until, until)
        old.save(update_fields=["accepted_until"])
    key = _make()
    events.KEY_ROTATED.emit(target=key, at_once=at_once)
    return key
