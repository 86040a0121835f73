from pathlib import Path

from django.http import FileResponse, HttpRequest
from django.views.decorators.http import require_safe

from audit import verify
from opssight.kernel.guards import public


@public("a program that is the same everywhere and holds no data; who verifies a bundle may have no account here")
@require_safe
def verifier(request: HttpRequest) -> FileResponse:
    return FileResponse(
        Path(verify.__file__).open("rb"),
        content_type="text/x-python; charset=utf-8",
        filename="verify.py",
        as_attachment=True,
    )
