"""The client for pipelines, with its digest."""

from functools import cache
from hashlib import sha256
from pathlib import Path

from django.http import FileResponse, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from opssight.kernel.guards import public

NAME = "opssight-ci.py"
PROGRAM = Path(__file__).parent / "opssight_ci.py"


@cache
def client_digest() -> str:
    """SHA-256 of the client that is served at /client/opssight-ci.py, 64 hex characters."""
    return sha256(PROGRAM.read_bytes()).hexdigest()


@public("a program that is the same everywhere and holds no data; a pipeline fetches it before it has a token")
@require_safe
def client(request: HttpRequest) -> FileResponse:
    return FileResponse(
        PROGRAM.open("rb"), content_type="text/x-python; charset=utf-8", filename=NAME, as_attachment=True
    )


@public("the digest of a public program")
@require_safe
def digest(request: HttpRequest) -> HttpResponse:
    """As `sha256sum --check` reads it."""
    return HttpResponse(f"{client_digest()}  {NAME}\n", content_type="text/plain; charset=utf-8")
