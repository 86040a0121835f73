from django.conf import settings
from django.db import models
from django.db.models import Q

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.crypto import Encrypted, is_readable
from opssight.kernel.ids import new_uid
from opssight.kernel.validation import Line

LAST = 4
UNREADABLE = "unreadable"  # in place of the last four, where the ciphertext was moved or its key is gone


def masked(value: str) -> str:
    """The last four, behind dots; "" for nothing."""
    return f"••••{value[-LAST:]}" if value else ""


class PersonalDetails(models.Model):
    """What an account's owner tells of themselves: encrypted, bound to the row, shown masked."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="personal_details")
    phone_number_encrypted = models.TextField(blank=True, editable=False)
    ssn_encrypted = models.TextField(blank=True, editable=False)
    changed_at = models.DateTimeField(auto_now=True)

    phone_number = Encrypted("phone_number_encrypted")
    ssn = Encrypted("ssn_encrypted")
    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = verbose_name_plural = "personal details"

    def __str__(self) -> str:
        return f"personal details of {self.user}"

    def value(self, name: str) -> str:
        """In the clear; "" where nothing is kept."""
        return getattr(self, name) if getattr(self, f"{name}_encrypted") else ""

    @property
    def shown_phone_number(self) -> str:
        return self._shown("phone_number")

    @property
    def shown_ssn(self) -> str:
        return self._shown("ssn")

    def _shown(self, name: str) -> str:
        kept = bool(getattr(self, f"{name}_encrypted"))
        return UNREADABLE if kept and not is_readable(self, name) else masked(self.value(name))


class Collection(models.Model):
    """Whether something is collected at all that not every organisation may: off where there is no row."""

    class Name(models.TextChoices):
        SSN = "ssn", "National ID number"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(max_length=8, choices=Name, unique=True)
    enabled = models.BooleanField(default=False, help_text="Switched off, every number that was kept is erased.")
    reason = Line(max_length=300, help_text="The law or contract that asks for it.")

    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = "collection of personal data"
        verbose_name_plural = "collections of personal data"
        constraints = [models.CheckConstraint(condition=Q(name="ssn"), name="collection_known")]

    def __str__(self) -> str:
        return f"{self.get_name_display()}: {'on' if self.enabled else 'off'}"
