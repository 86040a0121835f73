import io
import json
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from rest_framework.exceptions import APIException

from accounts.caller import caller
from opssight.kernel.admin import GuardedAdmin, ServedAdmin
from opssight.kernel.rest.parsers import StrictJSONParser
from rbac.access import factors, services
from rbac.access.conditions import vocabulary
from rbac.access.models import AccessTrace, FactorRule, Policy, Zone


class ConditionField(forms.CharField):
    """JSON as text, read as strictly as the API reads it."""

    widget = forms.Textarea(attrs={"rows": 14, "cols": 90, "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        if not text:
            return None
        try:
            return StrictJSONParser().parse(io.BytesIO(text.encode("utf-8", "replace")))
        except APIException as error:
            raise ValidationError(str(error.detail).replace("The body", "The condition")) from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return True  # cheap to save again; the trail notes what differs


class AskingForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    """Says on the form, where it can be mended, what the service would refuse in any case."""

    def ask(self) -> None:
        raise NotImplementedError

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own hook, which its stubs leave out
        if self.errors:
            return
        try:
            self.ask()
        except ValidationError as error:
            self.add_error(None, error)
        except services.SelfLockout as refusal:
            self.add_error(None, refusal.detail)


class PolicyForm(AskingForm):
    condition = ConditionField()

    class Meta:
        model = Policy
        fields = ["name", "enabled", "resource", "action", "effect", "condition", "reason", "level", "max_age"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if field := self.fields.get("condition"):  # a reader's form has none
            field.help_text = (
                'Such as {"fact": "zone", "op": "not_in", "value": ["office"]}, joined by {"all": […]}, '
                f'{{"any": […]}} and {{"not": {{…}}}}. Facts: {vocabulary()}.'
            )

    def ask(self) -> None:
        services.check_policy(self.instance)


class NetworksField(forms.CharField):
    """One network a line."""

    widget = forms.Textarea(attrs={"rows": 8, "cols": 50, "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) or value is None else "\n".join(map(str, value))

    def to_python(self, value: Any) -> Any:
        return (super().to_python(value) or "").split()

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(initial != data.split())


class ZoneForm(AskingForm):
    networks = NetworksField(help_text="One a line, such as 10.0.0.0/8 or 2001:db8::/32.")

    class Meta:
        model = Zone
        fields = ["name", "networks"]

    def ask(self) -> None:
        services.check_zone(self.instance)


@admin.register(Policy)
class PolicyAdmin(ServedAdmin):
    resource = "policies"
    verbs = {"view": "read", "add": "create", "change": "update", "delete": "delete"}
    form = PolicyForm
    list_display = ["name", "enabled", "covered", "effect", "reason"]
    list_filter = ["enabled", "effect"]
    search_fields = ["name", "reason"]
    ordering = ["name"]

    def save_model(self, request: HttpRequest, obj: Policy, form: Any, change: bool) -> None:
        services.save_policy(obj)

    def take_away(self, request: HttpRequest, obj: Policy) -> None:
        services.delete_policy(obj)


@admin.register(Zone)
class ZoneAdmin(ServedAdmin):
    resource = "zones"
    verbs = {"view": "read", "add": "create", "change": "update", "delete": "delete"}
    form = ZoneForm
    list_display = ["name", "networks", "created_at"]
    search_fields = ["name"]
    ordering = ["name"]

    def save_model(self, request: HttpRequest, obj: Zone, form: Any, change: bool) -> None:
        services.save_zone(obj)

    def take_away(self, request: HttpRequest, obj: Zone) -> None:
        services.delete_zone(obj)


class FactorRuleForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = FactorRule
        fields = ["role", "level", "max_age", "grace_days", "enabled"]


@admin.register(FactorRule)
class FactorRuleAdmin(ServedAdmin):
    resource = "factor-rules"
    verbs = {"view": "read", "add": "create", "change": "update", "delete": "delete"}
    form = FactorRuleForm
    list_display = ["role", "level", "max_age", "grace_days", "enabled", "due_at"]
    list_filter = ["enabled", "level"]
    list_select_related = ["role"]
    ordering = ["role__name"]

    def get_readonly_fields(self, request: HttpRequest, obj: FactorRule | None = None) -> list[str]:
        return ["due_at", "would_be_stopped"] if obj else []

    @admin.display(description="would be stopped")
    def would_be_stopped(self, rule: FactorRule) -> str:
        """The rehearsal: who holds the role and has no factor of this strength."""
        found = list(factors.rehearse(rule.role, rule.level).values_list("email", flat=True)[:51])
        more = " and more" if len(found) > 50 else ""
        return ", ".join(found[:50]) + more if found else "nobody"

    def save_model(self, request: HttpRequest, obj: FactorRule, form: Any, change: bool) -> None:
        factors.save_rule(obj, by=caller(request))

    def take_away(self, request: HttpRequest, obj: FactorRule) -> None:
        factors.delete_rule(obj)


@admin.register(AccessTrace)
class AccessTraceAdmin(GuardedAdmin):
    """Read-only: why policies refused a request."""

    resource = "traces"
    task = "Evidence"
    list_display = ["at", "user", "permission", "outcome", "policy", "address", "request_id"]
    list_filter = ["outcome"]
    list_select_related = ["user"]
    search_fields = ["=request_id", "=policy", "=permission"]
    search_help_text = "An exact request id, policy or permission"
    ordering = ["-id"]
    fields = ["at", "user", "permission", "outcome", "policy", "steps", "request_id", "address"]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {}
