"""The forms of an asset: a new one of each kind, a changed one, and a file uploaded for it."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods

from opssight.kernel.access import check
from opssight.kernel.errors import Refusal
from opssight.kernel.guards import guarded
from opssight.kernel.rest.parsers import is_longer
from opssight.kernel.validation import StrictForm, some_lines
from scanning import inventory
from scanning.models import Asset

KINDS = [kind for kind in Asset.Kind if kind != Asset.Kind.INSTALLATION]
# What `location` is called, and what belongs into it.
PLACES = {
    Asset.Kind.FOLDER: (
        "Folder",
        "The whole path on the server, such as /srv/code/shop. Workers must be able to read it.",
    ),
    Asset.Kind.GIT: ("Address", "https://, ssh://git@host/path or file://; name and secret have their own fields."),
    Asset.Kind.ARCHIVE: ("File on the server", "The whole path of a zip or tar. Leave it empty to upload one."),
    Asset.Kind.IMAGE: ("File on the server", "The whole path of what docker save wrote. Leave it empty to upload it."),
}


class AssetForm(StrictForm):
    """Those fields that its kind has. The secret is written and never shown; an empty one keeps what there is."""

    secret = frozenset({"secret"})  # as it is: a private key has lines

    name = forms.CharField(label="Name", max_length=200)
    unit = forms.ChoiceField(label="Unit")

    def __init__(self, data: Any, user: Any, kind: Asset.Kind, asset: Asset | None = None) -> None:
        names = ("name", "location", "branch", "username", "is_active")
        initial = {name: getattr(asset, name) for name in names} | {"unit": str(asset.unit.uid)} if asset else None
        super().__init__(data, initial=initial)
        self.units = {str(unit.uid): unit for unit in inventory.units_for_new_assets(user)}
        if asset:
            self.units[str(asset.unit.uid)] = asset.unit
            self.fields["is_active"] = forms.BooleanField(label="Active", required=False)
        choices: Any = self.fields["unit"]
        choices.choices = sorted(((uid, str(unit)) for uid, unit in self.units.items()), key=lambda choice: choice[1])
        if kind in PLACES:
            label, self.place_hint = PLACES[kind]
            optional = kind in Asset.FILES and not (asset and asset.location)
            self.fields["location"] = forms.CharField(label=label, max_length=1000, required=not optional)
        if kind == Asset.Kind.GIT:
            self._add_access(asset)

    def _add_access(self, asset: Asset | None) -> None:
        self.fields["branch"] = forms.CharField(label="Branch or tag", max_length=200, required=False)
        self.fields["username"] = forms.CharField(label="User name", max_length=200, required=False)
        self.fields["secret"] = forms.CharField(
            label="Secret", max_length=10_000, required=False, strip=False, validators=[some_lines]
        )
        if asset and asset.has_secret:
            self.fields["forget_secret"] = forms.BooleanField(label="Take the kept secret away", required=False)

    def given(self) -> dict[str, Any]:
        """As the services take it."""
        data = dict(self.cleaned_data)
        data["unit"] = self.units[data["unit"]]
        forget, secret = data.pop("forget_secret", False), data.pop("secret", "").strip("\r\n")
        if secret or forget:
            data["secret"] = secret
        return data


@guarded("assets:create")
@require_http_methods(["GET", "POST"])
def new_asset(request: HttpRequest) -> HttpResponse:
    """Of the kind that the address names: without a script, a form can't ask for one kind's fields by itself."""
    kind = next((one for one in KINDS if one == request.GET.get("kind", Asset.Kind.FOLDER)), None)
    if kind is None:
        raise Http404
    form = AssetForm(request.POST or None, request.user, kind)
    return _answered(
        request, form, None, kind, lambda: inventory.create_asset(kind=kind, **form.given(), by=request.user)
    )


@guarded("assets:update")
@require_http_methods(["GET", "POST"])
def change_asset(request: HttpRequest, uid: UUID) -> HttpResponse:
    row = _found(request, uid)
    kind = Asset.Kind(row.kind)
    form = AssetForm(request.POST or None, request.user, kind, row)

    def change() -> Asset:
        fresh = Asset.objects.get(pk=row.pk)  # a refused change leaves `row` as it was
        return inventory.change_asset(fresh, **form.given(), by=request.user)

    return _answered(request, form, row, kind, change)


def _found(request: HttpRequest, uid: UUID) -> Asset:
    row = get_object_or_404(Asset.objects.permitted(request.user, "assets:read").select_related("unit"), uid=uid)
    check(request.user, "assets:update", row)
    return row


def _answered(
    request: HttpRequest, form: AssetForm, row: Asset | None, kind: Asset.Kind, save: Callable[[], Asset]
) -> HttpResponse:
    if request.method == "POST" and form.is_valid():
        try:
            saved = save()
        except inventory.WrongField as refusal:
            form.add_error(refusal.field if refusal.field in form.fields else None, refusal.detail)
        except Refusal as refusal:
            form.add_error(None, refusal.detail)
        except ValidationError as error:
            form.add_error(None, error.messages)
        else:
            messages.success(
                request, f"{saved.name} is {'changed' if row else 'an asset now. Nothing of it was read yet'}."
            )
            return redirect("asset", saved.uid)
    page = {"form": form, "asset": row, "kind": kind, "kinds": KINDS}
    return render(request, "scanning/asset_form.html", page, status=400 if form.errors else 200)


# --- a file ---------------------------------------------------------------------------------------------------------


class UploadForm(StrictForm):
    file = forms.FileField(label="File", max_length=200)


@csrf_exempt  # looked at below, once it is known who asks and how much is sent: looking reads all of it
@guarded("assets:update")
@require_http_methods(["GET", "POST"])
def upload_file(request: HttpRequest, uid: UUID) -> HttpResponse:
    row = _found(request, uid)
    if request.method == "POST" and is_longer(request.META, settings.UPLOAD_MAX * 1_000_000):
        too_large = f"The file has more than {settings.UPLOAD_MAX} MB (OPSSIGHT_UPLOAD_MAX)."
        return _upload_page(request, row, UploadForm(None, None), status=413, too_large=too_large)
    return _upload(request, row)


@csrf_protect
def _upload(request: HttpRequest, row: Asset) -> HttpResponse:
    if request.method != "POST":
        return _upload_page(request, row, UploadForm(None, None), status=200)
    form = UploadForm(request.POST, request.FILES)
    if form.is_valid():
        file = form.cleaned_data["file"]
        try:
            row = inventory.upload(row, file, name=file.name, by=request.user)
        except (inventory.Unusable, inventory.NotUploaded) as refusal:
            form.add_error("file", refusal.detail)
        else:
            messages.success(
                request, f"{row.upload_name} is what {row.name} is from now on. Nothing of it was read yet."
            )
            return redirect("asset", row.uid)
    return _upload_page(request, row, form, status=400)


def _upload_page(request: HttpRequest, row: Asset, form: UploadForm, *, status: int, **more: Any) -> HttpResponse:
    page = {"asset": row, "form": form, "limit": settings.UPLOAD_MAX, **more}
    return render(request, "scanning/asset_upload.html", page, status=status)
