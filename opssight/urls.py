"""The URL map. The API stands under /api/v1/, the admin under /admin/, everything else is console."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from accounts.tokens.jwt_views import jwks
from audit.sealing.views import verifier
from opssight import api, health
from scanning.client import views as ci

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("verify.py", verifier, name="verifier"),
    path(f"client/{ci.NAME}", ci.client, name="ci-client"),
    path(f"client/{ci.NAME}.sha256", ci.digest, name="ci-client-digest"),
    path(".well-known/jwks.json", jwks, name="jwks"),
    path("api/v1/", include(api.urlpatterns)),
    re_path(r"^api(?:/.*)?$", api.unknown),
    path("admin/login/", admin.site.login),
    path("admin/logout/", RedirectView.as_view(pattern_name="my-security")),
    path("admin/", admin.site.urls),
    path("", include("accounts.urls")),
    path("", include("opssight.console.urls")),
]

handler403 = "opssight.console.views.errors.forbidden"
handler404 = "opssight.console.views.errors.not_found"
handler500 = "opssight.console.views.errors.server_error"
