from django.urls import path

from opssight.console.views import api, findings, my_security, overview, scans, theme, trail

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("findings", findings.findings, name="findings"),
    path("findings/<uuid:uid>", findings.finding, name="finding"),
    path("scans", scans.scans, name="scans"),
    path("scans/<uuid:uid>", scans.scan, name="scan"),
    path("scans/<uuid:uid>/progress", scans.scan_progress, name="scan-progress"),
    path("trail", trail.trail, name="trail"),
    path("trail/<uuid:uid>", trail.entry, name="trail-entry"),
    path("my-security", my_security.my_security, name="my-security"),
    path("api-guide", api.guide, name="api-guide"),
    path("theme", theme.theme, name="theme"),
]
