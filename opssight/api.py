"""The API's map: each subject's `api.py` lists its routes, and a name that comes twice stops the start."""

from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from rest_framework.routers import SimpleRouter

import audit.api
import compliance.api
import scanning.api
from opssight.kernel.errors import problem_json
from opssight.kernel.guards import public

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
_names: set[str] = set()
for routes in (compliance.api.routes, scanning.api.routes, audit.api.routes):
    for name, viewset in routes:
        if name in _names:
            raise ValueError(f"two resources are called {name}")
        _names.add(name)
        router.register(name, viewset, basename=name)


@public("says that there is nothing here, in the API's own shape")
def unknown(request: HttpRequest, **kwargs: str) -> HttpResponse:
    return problem_json(request, 404, "There is no such address in the API.")


urlpatterns = [*router.urls, path("", unknown), re_path(r".*", unknown)]
