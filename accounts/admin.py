from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from accounts import services
from accounts.mfa.services import of_strength, with_strength
from accounts.models import User, normalise_email
from accounts.personal.models import PersonalDetails
from accounts.strength import NAMES
from opssight.kernel.access import decide
from opssight.kernel.admin import ServedAdmin


class UserForm(forms.ModelForm):  # type: ignore[type-arg]  # not subscriptable at run time
    class Meta:
        model = User
        fields = ["email", "name", "is_active"]

    def clean_email(self) -> str:
        return normalise_email(self.cleaned_data["email"])


class StrengthFilter(admin.SimpleListFilter):
    """Of people: accounts of programs have no second factor to miss."""

    title, parameter_name = "second factor", "strength"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("none", "none"), *NAMES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        return of_strength(queryset, self.value() or "") if self.value() else queryset


@admin.register(User)
class UserAdmin(ServedAdmin):
    resource = "users"
    task = "People"
    verbs = {"view": "read", "add": "create", "change": "update"}
    form = UserForm
    list_display = ["email", "name", "kind", "second_factor", "is_active", "created_at", "last_login"]
    list_filter = [StrengthFilter, "kind", "is_active"]
    search_fields = ["email", "name"]
    ordering = ["email"]
    actions = ["unlock"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return with_strength(super().get_queryset(request))

    @admin.display(description="second factor")
    def second_factor(self, user: User) -> str:
        """The strongest one."""
        if user.kind != User.Kind.PERSON:
            return ""
        return NAMES.get(user.strength, "none")  # type: ignore[attr-defined]

    @admin.action(description="Lift the lock after failed sign-ins", permissions=["unlock"])
    def unlock(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            lifted = services.unlock(user)
            messages.info(request, f"{user.email}: {'unlocked' if lifted else 'was not locked'}.")

    def has_unlock_permission(self, request: HttpRequest) -> bool:
        return decide(request.user, "lockouts:delete").allowed

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        return ["email", *self._personal(request, obj)] if obj else ["is_active"]

    @staticmethod
    def _personal(request: HttpRequest, user: Any) -> list[str]:
        """Of who told any, and to who may read them: masked, with the way to the page that reveals one."""
        kept = PersonalDetails.objects.permitted(request.user, "personal-details:read").filter(user=user).first()
        user.kept = kept
        user.may_reveal = bool(kept and decide(request.user, "personal-details:reveal", kept).allowed)
        return ["telephone_number", "national_id"] if kept else []

    @admin.display(description="telephone number")
    def telephone_number(self, user: User) -> str:
        return self._masked(user, "phone_number")

    @admin.display(description="national ID number")
    def national_id(self, user: User) -> str:
        return self._masked(user, "ssn")

    @staticmethod
    def _masked(user: Any, name: str) -> str:
        shown = getattr(user.kept, f"shown_{name}")
        if not shown or not user.may_reveal:
            return shown or "none given"
        address = f"{reverse('reveal-personal', args=[user.kept.uid])}?field={name}"
        return format_html('{} <a href="{}">Reveal</a>', shown, address)

    def save_model(self, request: HttpRequest, obj: User, form: UserForm, change: bool) -> None:
        """A new person gets a one-time link. A deactivated one is out at the next request: sessions look it up."""
        if change:
            active, obj.is_active = obj.is_active, form.initial["is_active"]
            services.set_active(obj, active)
            obj.save(update_fields=["name"])
            return
        user = services.create_account(obj.email, name=obj.name)
        obj.pk, obj._state.adding = user.pk, False
        link = services.issue_setup_link(user)
        text = "One-time link for {}, valid for a day, shown once: {}"
        messages.warning(request, format_html(text, user.email, link))

    def save_related(self, request: Any, form: Any, formsets: Any, change: bool) -> None:
        """No related rows are edited here."""
