from typing import Any

from django import forms
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.models import User, normalise_email
from opssight.kernel.validation import StrictForm


class EmailField(forms.EmailField):
    """An address in its one spelling, before it is judged."""

    def to_python(self, value: Any) -> str:
        return normalise_email(super().to_python(value) or "")


class SignInForm(StrictForm):
    username = EmailField(label="Work e-mail", max_length=254)
    password = forms.CharField(label="Password", max_length=1024, strip=False, widget=forms.PasswordInput)


class ForgottenForm(StrictForm):
    email = EmailField(label="Your work e-mail", max_length=254)


class NewPassword(StrictForm):
    """A password typed twice, judged for `user`."""

    password = forms.CharField(label="Password", max_length=1024, strip=False, widget=forms.PasswordInput)
    again = forms.CharField(label="The same password again", max_length=1024, strip=False, widget=forms.PasswordInput)

    def __init__(self, *args: Any, user: User | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        password, again = data.get("password"), data.get("again")
        if password and again and password != again:
            self.add_error("again", "The two passwords differ.")
        if password:
            try:
                validate_password(password, self.judged_for(data))
            except ValidationError as error:
                self.add_error("password", error)
        return data

    def judged_for(self, data: dict[str, Any]) -> User | None:
        return self.user


class ChangePasswordForm(NewPassword):
    secret = NewPassword.secret | {"old"}

    old = forms.CharField(label="The password you have now", max_length=1024, strip=False, widget=forms.PasswordInput)


class SetupForm(NewPassword):
    """Takes possession: e-mail (when the link creates the account) and a password, typed twice."""

    field_order = ["email", "name", "password", "again"]

    email = EmailField(label="Your work e-mail", max_length=254)
    name = forms.CharField(label="Your name", max_length=120, required=False)

    def __init__(self, *args: Any, user: User | None = None, **kwargs: Any) -> None:
        super().__init__(*args, user=user, **kwargs)
        if user is not None:
            del self.fields["email"], self.fields["name"]

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        if User.objects.filter(email=email).exists():
            raise ValidationError("This e-mail has an account already.")
        return email

    def judged_for(self, data: dict[str, Any]) -> User | None:
        return self.user or User(email=data.get("email", ""), name=data.get("name", ""))
