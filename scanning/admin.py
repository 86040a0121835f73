from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from opssight.kernel.access import decide
from opssight.kernel.admin import GuardedAdmin, ServedAdmin
from rbac.admin import GrantAdmin
from scanning import inventory, services
from scanning.models import Asset, AssetGroupGrant, AssetUserGrant, Finding, Scan


class AssetForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    secret = forms.CharField(
        required=False, max_length=10_000, strip=False, widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off"}),
        help_text="Of a repository or registry: password or token; for ssh a private key. Never shown again. "
        "Empty keeps it.",
    )  # fmt: skip

    class Meta:
        model = Asset
        fields = ["name", "kind", "location", "unit", "is_active", "branch", "username"]


@admin.register(Asset)
class AssetAdmin(ServedAdmin):
    resource = "assets"
    task = "Code and findings"
    verbs = {"view": "read", "add": "create", "change": "update"}
    list_display = ["name", "kind", "location", "unit", "is_active", "created_at"]
    list_filter = ["kind", "is_active", "unit"]
    ordering = ["name"]
    list_select_related = ["unit"]
    search_fields = ["name", "location"]
    form = AssetForm
    console = "asset"
    actions = ["scan"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A reader is shown no field for the secret."""
        fields = ["name", "kind", "location", "unit", "is_active", "branch", "username"]
        return [*fields, "secret"] if obj is None or self.has_change_permission(request, obj) else fields

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["kind"] if obj is not None else []

    def save_model(self, request: HttpRequest, obj: Asset, form: Any, change: bool) -> None:
        inventory.save_asset(obj, secret=form.cleaned_data["secret"] or None, by=request.user)

    def has_scan_permission(self, request: HttpRequest) -> bool:
        return decide(request.user, "scans:create").allowed

    @admin.action(description="Scan selected assets", permissions=["scan"])
    def scan(self, request: HttpRequest, queryset: QuerySet[Asset]) -> None:
        scans = [scan for asset in queryset for scan in services.request_scans(asset, by=request.user)]
        messages.success(request, f"{len(scans)} scans are queued.")


@admin.register(AssetUserGrant, AssetGroupGrant)
class AssetGrantAdmin(GrantAdmin):
    search_fields = ["content_object__name", "reason"]


class ReadOnly(GuardedAdmin):
    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}


@admin.register(Scan)
class ScanAdmin(ReadOnly):
    resource = "scans"
    task = "Code and findings"
    list_display = ["id", "asset", "scanner", "state", "trigger", "started_at", "finished_at", "new", "same", "fixed"]
    list_filter = ["state", "trigger", "asset"]
    console = "scan"
    list_select_related = ["asset"]
    search_fields = ["asset__name"]
    ordering = ["-id"]


@admin.register(Finding)
class FindingAdmin(ReadOnly):
    resource = "findings"
    task = "Code and findings"
    list_display = [
        "label", "severity", "title", "asset", "place", "package", "cvss", "is_known_exploited", "status", "owner",
        "due_at",
    ]  # fmt: skip
    list_filter = ["status", "severity", "is_known_exploited", "asset"]
    console = "finding"
    list_select_related = ["asset", "owner"]
    search_fields = ["title", "rule", "path", "package", "tags__word"]
    ordering = ["-severity", "id"]
