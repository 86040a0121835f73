from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts.models import User
from accounts.personal import services
from accounts.personal.models import PersonalDetails
from accounts.services import change_name
from accounts.step_up import require_step_up_here
from opssight.kernel import reads
from opssight.kernel.access import check
from opssight.kernel.errors import Refusal
from opssight.kernel.guards import guarded
from opssight.kernel.validation import StrictForm

LABELS = {"phone_number": "Telephone number", "ssn": "National ID number"}


class PersonalForm(StrictForm):
    name = forms.CharField(label="Name", max_length=120)
    phone_number = forms.CharField(label=LABELS["phone_number"], max_length=40, required=False)
    ssn = forms.CharField(label=LABELS["ssn"], max_length=40, required=False)

    def __init__(self, data: Any, user: User) -> None:
        super().__init__(data, initial={"name": user.name})
        self.fields["name"].required = bool(user.name)  # it is changed, not taken away
        if not services.collects_ssn():
            del self.fields["ssn"]


class RevealForm(StrictForm):
    field = forms.ChoiceField(label="What you need", choices=[*LABELS.items()])
    reason = forms.CharField(label="Why you need it", min_length=services.REASON[0], max_length=services.REASON[1])


@guarded("me:update")
@never_cache
@sensitive_post_parameters("phone_number", "ssn")
@require_http_methods(["GET", "POST"])
def change(request: HttpRequest) -> HttpResponse:
    """A number left empty stays as it is: what is kept is not put back into the form. `erase` empties one; `show` says
    what is kept, in this answer only."""
    require_step_up_here(request)
    user = request.user
    assert isinstance(user, User)
    if request.POST.get("erase") in services.FIELDS:
        services.set_own(user, **{request.POST["erase"]: ""})
        messages.success(request, "It is erased.")
        return redirect("my-security")
    is_to_show = "show" in request.POST
    form = PersonalForm(None if is_to_show else request.POST or None, user)
    if form.is_valid():
        try:
            _save(user, form.cleaned_data)
        except ValidationError as error:
            for name, said in error.message_dict.items():
                form.add_error(name, said)
        else:
            messages.success(request, "Your details are saved.")
            return redirect("my-security")
    in_full = services.own_in_full(user) if is_to_show else {}
    page = {"form": form, "details": services.details_of(user), "in_full": in_full}
    return render(request, "personal/change.html", page, status=400 if form.errors else 200)


@transaction.atomic
def _save(user: User, data: dict[str, str]) -> None:
    given = {name: data[name] for name in services.FIELDS if data.get(name, "").strip()}
    if data["name"] != user.name:
        change_name(user, data["name"])
    if given:
        services.set_own(user, **given)


@guarded("personal-details:reveal")
@never_cache
@require_http_methods(["GET", "POST"])
def reveal(request: HttpRequest, uid: UUID) -> HttpResponse:
    """One value of somebody else's, in the answer to the reason and nowhere else."""
    rows = PersonalDetails.objects.permitted(request.user, "personal-details:read").select_related("user")
    details = get_object_or_404(rows, uid=uid)
    check(request.user, "personal-details:reveal", details)
    require_step_up_here(request)
    reads.note_object(details)
    kept = {name: label for name, label in LABELS.items() if getattr(details, f"shown_{name}")}
    form = RevealForm(request.POST or None, initial={"field": request.GET.get("field", "")})
    offered: Any = form.fields["field"]  # the stubs know it as any field
    offered.choices = [*kept.items()]
    page = {
        "form": form,
        "details": details,
        "kept": [(n, label, getattr(details, f"shown_{n}")) for n, label in kept.items()],
    }
    if request.method == "POST" and form.is_valid():
        name = form.cleaned_data["field"]
        try:
            page |= {"value": services.reveal(details, name, reason=form.cleaned_data["reason"]), "label": kept[name]}
        except Refusal as refusal:
            form.add_error(None, refusal.detail)
    return render(request, "personal/reveal.html", page, status=400 if form.errors else 200)
