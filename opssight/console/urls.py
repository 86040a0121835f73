from django.urls import path

from opssight.console.views import (
    access,
    api,
    compliance,
    decisions,
    findings,
    my_security,
    overview,
    scans,
    theme,
    trail,
    trail_report,
)

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("findings", findings.findings, name="findings"),
    path("findings/<uuid:uid>", findings.finding, name="finding"),
    path("findings/<uuid:uid>/decide", decisions.decide_about, name="decide"),
    path("decisions/<uuid:uid>/answer", decisions.answer, name="answer-decision"),
    path("scans", scans.scans, name="scans"),
    path("scans/<uuid:uid>", scans.scan, name="scan"),
    path("scans/<uuid:uid>/progress", scans.scan_progress, name="scan-progress"),
    path("assets/<uuid:uid>/scan", scans.scan_now, name="scan-now"),
    path("compliance", compliance.controls, name="controls"),
    path("compliance/evaluate", compliance.evaluate_all, name="evaluate-controls"),
    path("compliance/<str:key>", compliance.control, name="control"),
    path("compliance/<str:key>/evaluate", compliance.evaluate, name="evaluate-control"),
    path("trail", trail.trail, name="trail"),
    path("trail/report", trail_report.trail_report, name="trail-report"),
    path("trail/export", trail.trail_export, name="export-trail"),
    path("trail/<uuid:uid>", trail.entry, name="trail-entry"),
    path("my-security", my_security.my_security, name="my-security"),
    path("access", access.access, name="access"),
    path("api-guide", api.guide, name="api-guide"),
    path("theme", theme.theme, name="theme"),
]
