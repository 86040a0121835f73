"""Reports from elsewhere: the list, trying one and taking it in, one import, and taking it back."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import HttpResponseClientRedirect

from opssight.console.counting import ask
from opssight.console.filters import Asked
from opssight.console.fragments import htmx
from opssight.console.lists import links, page_of
from opssight.kernel.access import decide
from opssight.kernel.errors import Refusal
from opssight.kernel.guards import guarded
from opssight.kernel.rest.parsers import is_longer
from opssight.kernel.validation import StrictForm
from scanning import reports
from scanning.imports import services
from scanning.imports.models import Import, ImportQuerySet
from scanning.models import Asset, Finding
from scanning.reports.base import MAX_BYTES

LIMIT = MAX_BYTES // 1_000_000  # megabytes of a file as it is sent
TOO_LARGE = f"The file is larger than {LIMIT} MB. Gzip it, split it, or scan in parts."
STATES = [("taken", "taken in"), ("undone", "undone")]


@guarded("imports:read")
def imports(request: HttpRequest) -> HttpResponse:
    asked = Asked(request.GET)
    rows = _narrowed(Import.objects.permitted(request.user, "imports:read"), asked, request.user)
    counted = rows.annotate(**{name: Sum(f"scans__{name}") for name in services.COUNTS})
    page = page_of(request, counted.select_related("asset", "imported_by").prefetch_related("scans"), ["-id"])
    context = {"asked": asked, "page": page, **links(request, page), **ask(request.user, total=rows)}
    return render(request, "scanning/imports.html", context)


def _narrowed(rows: ImportQuerySet, asked: Asked, user: Any) -> ImportQuerySet:
    assets = Asset.objects.permitted(user, "assets:read").order_by("name").values_list("uid", "name")
    if chosen := asked.among("asset", "Asset", ((str(uid), name) for uid, name in assets), names=True):
        rows = rows.filter(asset__uid__in=chosen)
    if chosen := asked.among("state", "State", STATES, several=False):
        rows = rows.filter(undone_at__isnull=chosen == ["taken"])
    if moment := asked.span("since", "Came"):
        rows = rows.filter(created_at__gte=moment)
    return rows


# --- a new one ------------------------------------------------------------------------------------------------------


class ImportForm(StrictForm):
    """`tried` is the digest of the file that was tried: what is taken in is what was looked at."""

    asset = forms.ChoiceField(label="Asset")
    file = forms.FileField(label="Report", max_length=200)
    format = forms.ChoiceField(label="Format", required=False)
    is_partial = forms.BooleanField(label="It is about a part of the asset", required=False)
    tried = forms.CharField(required=False, max_length=64)
    step = forms.ChoiceField(choices=[("try", "Try it"), ("take", "Take it in")])

    def __init__(self, data: Any, files: Any, user: Any, **more: Any) -> None:
        super().__init__(data, files, **more)
        rows = Asset.objects.permitted(user, "assets:read").select_related("unit").order_by("name", "id")
        self.assets = {str(asset.uid): asset for asset in rows}
        asset: Any = self.fields["asset"]
        asset.choices = [(uid, f"{row.name} ({row.unit})") for uid, row in self.assets.items()]
        format: Any = self.fields["format"]
        format.choices = [("", "As its content says"), *((name, name) for name in sorted(reports.FORMATS))]

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > MAX_BYTES:
            raise forms.ValidationError(TOO_LARGE)
        return file


@csrf_exempt  # looked at below, once it is known who asks and how much is sent: looking reads all of it
@guarded("imports:create")
@require_http_methods(["GET", "POST"])
def new_import(request: HttpRequest) -> HttpResponse:
    if request.method == "POST" and is_longer(request.META, MAX_BYTES):
        form = ImportForm(None, None, request.user)
        return _asked_again(request, form, status=413, too_large=TOO_LARGE)
    return _upload(request)


@csrf_protect
def _upload(request: HttpRequest) -> HttpResponse:
    """Files are kept on disk by Django while they arrive, and read as a stream."""
    if request.method != "POST":
        form = ImportForm(None, None, request.user, initial={"asset": request.GET.get("asset", "")})
        return _asked_again(request, form, status=200)
    form = ImportForm(request.POST, request.FILES, request.user)
    if not form.is_valid():
        return _asked_again(request, form)
    given = form.cleaned_data
    asset, file, tried = form.assets[given["asset"]], given["file"], given["step"] == "try"
    if not tried and given["tried"] and given["tried"] != services.digest_of(file):
        form.add_error("file", "This is not the file that was tried. Try this one, or choose the other again.")
        return _asked_again(request, form)
    try:
        diff = services.import_report(
            asset, file, name=file.name, format=given["format"], is_partial=given["is_partial"], dry_run=tried,
            by=request.user,
        )  # fmt: skip
    except services.Unusable as refusal:
        form.add_error("file", refusal.detail)
        return _asked_again(request, form)
    if diff.row is None:
        trial = diff.trial if _may_read(request.user, asset) else None
        return _asked_again(request, form, status=200, diff=diff, told=trial, asset=asset)
    messages.success(request, "The report is taken in.")
    address = reverse("import", args=[diff.row.uid])
    return HttpResponseClientRedirect(address) if _is_part(request) else redirect(address)


def _asked_again(request: HttpRequest, form: ImportForm, *, status: int = 400, **more: Any) -> HttpResponse:
    """The form with what came of it; the script, which keeps the chosen file in its form, gets that alone."""
    template = "scanning/import_outcome.html" if _is_part(request) else "scanning/import_new.html"
    return render(request, template, {"form": form, "limit": LIMIT, **more}, status=status)


def _may_read(user: Any, asset: Asset) -> bool:
    return decide(user, "findings:read", Finding(asset=asset)).allowed


def _is_part(request: HttpRequest) -> bool:
    return bool(htmx(request))


# --- one ------------------------------------------------------------------------------------------------------------


def _found(request: HttpRequest, uid: UUID) -> Import:
    rows = Import.objects.permitted(request.user, "imports:read").select_related("asset", "imported_by")
    row: Import = get_object_or_404(rows, uid=uid)
    return row


@guarded("imports:read")
def one_import(request: HttpRequest, uid: UUID) -> HttpResponse:
    row = _found(request, uid)
    scans = list(row.scans.order_by("pk"))
    may_undo = row.undone_at is None and decide(request.user, "imports:undo", row).allowed
    page = {
        "row": row,
        "diff": services.Diff(row, scans),
        "told": services.told(row) if _may_read(request.user, row.asset) else None,
        "undoing": services.would_undo(row) if may_undo else None,
    }
    return render(request, "scanning/import.html", page)


@guarded("imports:undo")
@require_POST
def undo_import(request: HttpRequest, uid: UUID) -> HttpResponse:
    row = _found(request, uid)
    try:
        done = services.undo(row, by=request.user)
    except Refusal as refusal:
        if refusal.status == 403:
            raise
        messages.error(request, refusal.detail)
    else:
        messages.success(
            request,
            f"The import is undone: {done.withdrawn} findings went, {done.restored} are as before, {done.kept} stay.",
        )
    return redirect("import", row.uid)
