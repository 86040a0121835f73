import unicodedata
from datetime import datetime
from typing import Any, ClassVar, Self

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from opssight.kernel.access import GuardedQuerySet, decide
from opssight.kernel.ids import new_uid
from opssight.kernel.validation import Line


def normalise_email(value: str) -> str:
    """One spelling for each mailbox: NFKC, case folded, trimmed. Applied at every door, so look-ups can be exact."""
    return unicodedata.normalize("NFKC", value).casefold().strip()


# What every session and token of an account rests on: where one of these changes, they all end.
PROVED = frozenset({"password", "is_active"})


class UserQuerySet(GuardedQuerySet["User"]):
    def people(self) -> Self:
        return self.filter(kind=User.Kind.PERSON, is_active=True)

    def update(self, **values: Any) -> int:
        """In bulk as one by one: who is let out, or gets another password, loses every session and token."""
        if values.keys() & PROVED:
            values.setdefault("auth_epoch", F("auth_epoch") + 1)
        return super().update(**values)


class UserManager(BaseUserManager["User"].from_queryset(UserQuerySet)):  # type: ignore[misc]
    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=normalise_email(username or ""))


class User(AbstractBaseUser, PermissionsMixin):
    """An account: a person who signs in with e-mail, password and second factor, or a service that holds tokens."""

    class Kind(models.TextChoices):
        PERSON = "person", "Person"
        SERVICE = "service", "Service"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.PERSON)
    email = models.EmailField("e-mail", max_length=254, unique=True)
    name = Line(max_length=120, blank=True)
    is_active = models.BooleanField("active", default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    auth_epoch = models.PositiveIntegerField(
        default=0, editable=False, help_text="Raised to end every session and token of the account at once."
    )

    # Set on the instance that a token brought in: that it was one, and what it may do at most (None: all that is held).
    by_token = False
    scopes: frozenset[str] | None = None

    objects = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=Q(is_superuser=False), name="no_superuser"),
            models.CheckConstraint(condition=Q(kind__in=["person", "service"]), name="user_kind_known"),
        ]

    def __str__(self) -> str:
        return self.name or self.email

    def clean(self) -> None:
        self.email = normalise_email(self.email)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Raises the epoch where the password or the state changes, on whatever path the change comes, and never lowers
        it: an older copy of the account must not bring an ended session back."""
        named = kwargs.get("update_fields")
        touched = PROVED | {"auth_epoch"} if named is None else (PROVED | {"auth_epoch"}) & set(named)
        kept = User.objects.filter(pk=self.pk).values(*PROVED, "auth_epoch").first() if touched and self.pk else None
        if kept is not None:
            changed = any(getattr(self, name) != kept[name] for name in touched & PROVED)
            self.auth_epoch = max(self.auth_epoch, kept["auth_epoch"] + changed)
            if named is not None:
                kwargs["update_fields"] = {*named, "auth_epoch"}
        super().save(*args, **kwargs)

    @property
    def is_staff(self) -> bool:
        """Whether Django's admin may open at all; roles decide, no flag does."""
        return decide(self, "admin:enter").allowed

    def check_password(self, raw_password: str | None) -> bool:
        """As Django's, except that a new hash of the same password, made as hashing gets stronger, ends no token."""

        def renew(raw: str) -> None:
            self.password = make_password(raw)
            super(User, self).save(update_fields=["password"])  # not ours, which raises the epoch

        return check_password(raw_password, self.password, renew)

    def get_short_name(self) -> str:
        return self.name or self.email.partition("@")[0]

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        """Django's own permission rows grant nothing here; see opssight.kernel.access."""
        return False

    def has_module_perms(self, app_label: str) -> bool:
        return False

    @property
    def initials(self) -> str:
        words = (self.name or self.email.partition("@")[0].replace(".", " ")).split()
        return "".join(word[0] for word in words[:2]).upper() or "?"


class SetupLinkQuerySet(models.QuerySet["SetupLink"]):
    def open(self, *, at: datetime) -> Self:
        return self.filter(used_at=None, expires_at__gt=at)


class SetupLink(models.Model):
    """A one-time link with which the first officer takes possession of a new installation, or a person of an account;
    or one with which a person who forgot the password sets a new one.

    Only the keyed hash of its token is kept. Without `user` it creates the first account.
    """

    class Purpose(models.TextChoices):
        SETUP = "setup", "Set-up"
        RESET = "reset", "New password"

    token_hash = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="setup_links")
    purpose = models.CharField(max_length=5, choices=Purpose, default=Purpose.SETUP)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    objects = SetupLinkQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"set-up link of {self.created_at:%Y-%m-%d %H:%M}"
