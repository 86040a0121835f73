"""Providers, rules for their claims, and who is linked."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from accounts.sso import groups, services
from accounts.sso.models import ClaimRule, Identity, Provider
from opssight.kernel.admin import ServedAdmin


class WordsField(forms.CharField):
    """Words, with spaces between."""

    def prepare_value(self, value: Any) -> Any:
        return " ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return (super().to_python(value) or "").split()

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != (data or "").split())


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    secret = forms.CharField(
        label="Client secret",
        required=False,
        max_length=500,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="Never shown again. Left empty, the one that is there stays.",
    )
    domains = WordsField(required=False, help_text=Provider._meta.get_field("domains").help_text)
    factor_values = WordsField(required=False, help_text=Provider._meta.get_field("factor_values").help_text)

    class Meta:
        model = Provider
        fields = [
            "name",
            "slug",
            "kind",
            "is_enabled",
            "issuer",
            "client_id",
            "secret",
            "client_auth",
            "scope",
            "authorize_url",
            "token_url",
            "userinfo_url",
            "emails_url",
            "subject_claim",
            "domains",
            "creates_accounts",
            "trusts_email",
            "is_only_way",
            "factor_level",
            "factor_values",
            "logs_out_there",
        ]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        secret = data.get("secret", "")
        if not secret and self.instance.pk is None:
            self.add_error("secret", "The provider gave one with the client id.")
        if not (secret.isascii() and secret.isprintable()):
            self.add_error("secret", "Only visible characters of ASCII.")
        return data


@admin.register(Provider)
class ProviderAdmin(ServedAdmin):
    """Who else signs people in. To be entered there: the two addresses below."""

    resource = "providers"
    task = "People"
    verbs = {"view": "read", "add": "create", "change": "update", "delete": "delete"}
    form = ProviderForm
    list_display = ["name", "slug", "kind", "is_enabled", "issuer", "is_only_way", "factor_level"]
    list_filter = ["kind", "is_enabled"]
    search_fields = ["name", "slug", "issuer"]
    ordering = ["name"]

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> list[str]:
        return ["slug", "redirect_uri", "logout_uri", "failed_at"] if obj else []

    def get_fields(self, request: HttpRequest, obj: Provider | None = None) -> list[Any]:
        """A reader is shown no field for the secret."""
        hidden = set() if self.has_change_permission(request, obj) or obj is None else {"secret"}
        more = ["redirect_uri", "logout_uri", "failed_at"] if obj else []
        return [*(name for name in ProviderForm.Meta.fields if name not in hidden), *more]

    @admin.display(description="redirect address")
    def redirect_uri(self, provider: Provider) -> str:
        return provider.redirect_uri

    @admin.display(description="back-channel logout address")
    def logout_uri(self, provider: Provider) -> str:
        return provider.logout_uri

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:
        services.save_provider(obj, secret=form.cleaned_data["secret"])

    def take_away(self, request: HttpRequest, obj: Provider) -> None:
        services.delete_provider(obj)


@admin.register(ClaimRule)
class ClaimRuleAdmin(ServedAdmin):
    """Begin with one that is not enabled: it says what it would change."""

    resource = "claim-rules"
    task = "People"
    verbs = {"view": "read", "add": "create", "change": "update", "delete": "delete"}
    list_display = ["provider", "claim", "value", "group", "is_enabled"]
    list_filter = ["provider", "is_enabled"]
    list_select_related = ["provider", "group"]
    search_fields = ["claim", "value", "group__name"]
    ordering = ["id"]
    fields = ["provider", "claim", "value", "group", "is_enabled"]

    def get_readonly_fields(self, request: HttpRequest, obj: ClaimRule | None = None) -> list[str]:
        return ["would_change"] if obj else []

    def get_fields(self, request: HttpRequest, obj: ClaimRule | None = None) -> list[Any]:
        return [*self.fields, *(["would_change"] if obj else [])]

    @admin.display(description="at their next sign-in")
    def would_change(self, rule: ClaimRule) -> str:
        """The rehearsal, by what each claimed when last seen, with every rule of the provider enabled."""
        told = groups.rehearsal(rule.provider)
        more = " and more" if len(told) > 50 else ""
        return "; ".join(told[:50]) + more if told else "nothing changes"

    def save_model(self, request: HttpRequest, obj: ClaimRule, form: Any, change: bool) -> None:
        services.save_rule(obj)

    def take_away(self, request: HttpRequest, obj: ClaimRule) -> None:
        services.delete_rule(obj)


@admin.register(Identity)
class IdentityAdmin(ServedAdmin):
    """Who is linked. Nobody is linked here: only the account's owner can say so, or the provider's row."""

    resource = "identities"
    task = "People"
    verbs = {"view": "read", "change": "update", "delete": "delete"}
    list_display = ["user", "provider", "subject", "keeps_password", "linked_at", "last_used_at"]
    list_filter = ["provider", "keeps_password"]
    list_select_related = ["user", "provider"]
    search_fields = ["user__email", "=subject"]
    ordering = ["id"]
    fields = ["user", "provider", "issuer", "subject", "keeps_password", "linked_at", "last_used_at"]
    readonly_fields = ["user", "provider", "issuer", "subject", "linked_at", "last_used_at"]

    def save_model(self, request: HttpRequest, obj: Identity, form: Any, change: bool) -> None:
        services.save_identity(obj)

    def take_away(self, request: HttpRequest, obj: Identity) -> None:
        services.unlink(obj)
