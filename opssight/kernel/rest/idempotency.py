"""Safe repeats of a POST (draft-ietf-httpapi-idempotency-key-header): the same key and body have one effect.

The record is inserted before the work, so that of two parallel requests one does it. What was answered is kept
encrypted for a day, since it may hold a new token's secret.
"""

import hashlib
import json
import re
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel.errors import Refusal
from opssight.kernel.rest.problems import EarlyAnswer

KEEP = timedelta(hours=24)
STUCK = timedelta(minutes=5)  # longer than any request: whoever held the key has died
_KEY = re.compile(r"^[\x21-\x7e]{1,255}$")
_KEPT_HEADERS = ("Location", "ETag")


class KeyNotValid(Refusal):
    status = 400


class KeyReused(Refusal):
    status = 422


class StillRunning(Refusal):
    status = 409


def _records() -> Any:
    return apps.get_model(settings.IDEMPOTENCY_MODEL)._default_manager


def begin(request: Request) -> Any | None:
    """Claim the key of this POST. None where it has none; raises EarlyAnswer with what was answered before."""
    key = request.headers.get("Idempotency-Key")
    if key is None or request.method != "POST":
        return None
    if not _KEY.match(key):
        raise KeyNotValid("Idempotency-Key must be 1 to 255 printable ASCII characters without spaces.")
    plain: Any = request._request
    takes_files = any(isinstance(parser, MultiPartParser) for parser in request.parsers or ())
    if takes_files and plain.content_type == "multipart/form-data":  # its body is read as a stream, and once
        raise KeyNotValid("An upload takes no Idempotency-Key: sending the same file again changes nothing.")
    body_hash = hashlib.sha256(f"{plain.get_full_path()}\n".encode() + plain.body).hexdigest()
    now = timezone.now()
    try:
        with transaction.atomic():
            return _records().create(user=request.user, key=key, body_hash=body_hash, created_at=now)
    except IntegrityError:
        pass
    record = _records().get(user=request.user, key=key)
    if record.body_hash != body_hash:
        raise KeyReused("This Idempotency-Key was used for another request. Take a new one.")
    if record.answer_encrypted:
        answer = json.loads(record.answer)
        headers = {**answer["headers"], "Idempotency-Replayed": "true"}
        raise EarlyAnswer(answer["status"], answer["data"], headers)
    stuck = _records().filter(pk=record.pk, answer_encrypted="", created_at__lt=now - STUCK)
    if not stuck.update(created_at=now):
        raise StillRunning("The first request with this Idempotency-Key is still being answered. Try again shortly.")
    return record


def finish(record: Any, response: Response) -> None:
    """Keep the answer; a failure of ours is not kept, so that the client may try again."""
    if response.status_code >= 500:
        record.delete()
        return
    headers = {name: response[name] for name in _KEPT_HEADERS if response.has_header(name)}
    answer = {"status": response.status_code, "data": response.data, "headers": headers}
    record.answer = json.dumps(answer, default=str)
    record.save(update_fields=["answer_encrypted"])


def purge() -> None:
    _records().filter(created_at__lt=timezone.now() - KEEP).delete()
