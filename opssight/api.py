"""The API's map: each subject's `api.py` lists its routes, and a name that comes twice stops the start."""

from pathlib import Path

from django.http import FileResponse, HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.routers import SimpleRouter

import accounts.api
import accounts.devices.api
import accounts.logins.api
import accounts.mfa.api
import accounts.notify.api
import accounts.personal.api
import accounts.tokens.api
import audit.sealing.api
import compliance.api
import rbac.access.api
import rbac.api
import rbac.group_api
import scanning.api
import scanning.asset_api
import scanning.finding_api
import scanning.imports.api
import scanning.schedules.api
import scanning.sla.api
import scanning.tools.api
import scanning.triage.api
from opssight.kernel.errors import problem_json
from opssight.kernel.guards import public
from opssight.me import MeViewSet

DESCRIPTION = Path(__file__).parent / "openapi.json"

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
_names: set[str] = set()
for subject in (
    compliance.api,
    scanning.asset_api,
    scanning.api,
    scanning.finding_api,
    scanning.imports.api,
    scanning.schedules.api,
    scanning.sla.api,
    scanning.triage.api,
    scanning.tools.api,
    audit.sealing.api,
    rbac.group_api,
    rbac.api,
    rbac.access.api,
    accounts.logins.api,
    accounts.tokens.api,
    accounts.mfa.api,
    accounts.devices.api,
    accounts.personal.api,
    accounts.api,
):
    for name, viewset in subject.routes:
        if name in _names:
            raise ValueError(f"two resources are called {name}")
        _names.add(name)
        router.register(name, viewset, basename=name)


@public("describes the API and holds no data")
def openapi(request: HttpRequest) -> FileResponse:
    return FileResponse(DESCRIPTION.open("rb"), content_type="application/vnd.oai.openapi+json;version=3.1")


@csrf_exempt  # a 404 whatever the method, and not a 403 about a form
@public("says that there is nothing here, in the API's own shape")
def unknown(request: HttpRequest, **kwargs: str) -> HttpResponse:
    return problem_json(request, 404, "There is no such address in the API.")


urlpatterns = [
    *router.urls,
    *accounts.tokens.api.urlpatterns,
    *accounts.devices.api.urlpatterns,
    *accounts.notify.api.urlpatterns,
    path("me", MeViewSet.as_view({"get": "read", "patch": "update"}), name="me"),
    path("explain", rbac.api.ExplainViewSet.as_view({"get": "read"}), name="explain"),
    path("explain/holdings", rbac.api.HoldingsViewSet.as_view({"get": "read"}), name="holdings"),
    path("openapi.json", openapi, name="openapi"),
]
