import re
from typing import Any

from django import forms

from accounts.tokens.models import check_networks
from accounts.tokens.services import DEFAULT_DAYS, MAX_DAYS
from opssight.kernel.validation import StrictForm


class NewTokenForm(StrictForm):
    """What a token is to be called and to do: `held` are the permissions that it can be given."""

    name = forms.CharField(label="What it is for", max_length=80)
    days = forms.IntegerField(label="How many days it lives", min_value=1, max_value=MAX_DAYS, initial=DEFAULT_DAYS)
    addresses = forms.CharField(label="Good from these networks alone", max_length=2000, required=False)
    scopes = forms.MultipleChoiceField(label="What it may do")

    def __init__(self, *args: Any, held: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scopes"].choices = [(name, name) for name in held]  # type: ignore[attr-defined]
        self.fields["scopes"].error_messages["required"] = "Tick at least one."

    def clean_addresses(self) -> list[str]:
        networks = re.split(r"[\s,]+", self.cleaned_data["addresses"].strip(", "))
        found = [network for network in networks if network]
        check_networks(found)
        return found
