from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest

from accounts.models import User, normalise_email
from accounts.sso.models import signs_in_elsewhere


class PasswordBackend(BaseBackend):
    """E-mail and password: the first factor. It grants no permission; a session starts only after the second."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if not username or not password:
            return None
        user = User.objects.filter(email=normalise_email(username), kind=User.Kind.PERSON).first()
        if user is None:
            User().set_password(password)  # takes as long as a wrong password, so that names can't be told by time
            return None
        is_right = user.check_password(password) and user.is_active
        return user if is_right and not signs_in_elsewhere(user) else None

    def get_user(self, user_id: int) -> User | None:
        return User.objects.filter(pk=user_id, is_active=True).first()
