from django import forms

from opssight.kernel.validation import StrictForm


class CodeForm(StrictForm):
    """A code, or the answer of a passkey. `method` says which factor it is of, where the page knows."""

    passed_on = StrictForm.passed_on | {"level"}

    code = forms.CharField(label="Code", max_length=32, required=False)
    method = forms.CharField(max_length=12, required=False)
    credential = forms.CharField(max_length=20_000, required=False)
    name = forms.CharField(label="Name", max_length=64, required=False)

    def clean(self) -> dict[str, object]:
        data = super().clean()
        if not self.errors and not data.get("code") and not data.get("credential"):
            self.add_error("code", "Enter a code.")
        return data


class AddressForm(StrictForm):
    """Where codes are to be sent."""

    phone = forms.CharField(label="Telephone number", max_length=32)
