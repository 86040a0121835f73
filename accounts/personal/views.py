from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts.models import User
from accounts.personal import services
from accounts.step_up import require_step_up_here
from opssight.kernel.guards import guarded


class PersonalForm(forms.Form):
    phone_number = forms.CharField(label="Telephone number", max_length=40, required=False)
    ssn = forms.CharField(label="National ID number", max_length=40, required=False)

    def __init__(self, *args: Any, with_ssn: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not with_ssn:
            del self.fields["ssn"]


@guarded("me:update")
@sensitive_post_parameters("phone_number", "ssn")
@require_http_methods(["GET", "POST"])
def change(request: HttpRequest) -> HttpResponse:
    """A field left empty stays as it is: what is kept is not put back into the page. `erase` empties one."""
    require_step_up_here(request)
    user = request.user
    assert isinstance(user, User)
    form = PersonalForm(request.POST or None, with_ssn=services.collects_ssn())
    if request.method == "POST" and form.is_valid():
        given = {name: value for name, value in form.cleaned_data.items() if value.strip()}
        given |= {name: "" for name in services.FIELDS if request.POST.get("erase") == name}
        try:
            services.set_own(user, **given)
        except ValidationError as error:
            for name, said in error.message_dict.items():
                form.add_error(name, said)
        else:
            messages.success(request, "Your details are saved.")
            return redirect("my-security")
    page = {"form": form, "details": services.details_of(user)}
    return render(request, "personal/change.html", page, status=400 if form.errors else 200)
