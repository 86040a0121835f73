from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.ids import new_uid
from opssight.kernel.validation import Line


class UnitQuerySet(GuardedQuerySet["Unit"]):
    def roots(self) -> Self:
        return self.filter(parent=None)


class Unit(models.Model):
    """A node of the organisation: the company, its teams, their systems. Objects sit in one unit; rights flow down.

    `UnitPath` holds every pair of ancestor and descendant (each unit with itself included), so that "at or below"
    is one join.
    """

    class Kind(models.TextChoices):
        COMPANY = "company", "Company"
        TEAM = "team", "Team"
        SYSTEM = "system", "System"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.TEAM)
    name = Line(max_length=120)
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="children")

    objects = UnitQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["parent", "name"], name="unit_name_unique_in_parent"),
            models.UniqueConstraint(F("kind"), condition=Q(parent=None), name="one_root_unit"),
            models.CheckConstraint(
                condition=Q(parent=None, kind="company") | Q(parent__isnull=False), name="root_is_company"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class UnitPath(models.Model):
    """The closure of the unit tree, kept by `services.create_unit`."""

    ancestor = models.ForeignKey(Unit, on_delete=models.CASCADE, related_name="+")
    descendant = models.ForeignKey(Unit, on_delete=models.CASCADE, related_name="+")
    depth = models.PositiveSmallIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["ancestor", "descendant"], name="one_path_per_pair")]

    def __str__(self) -> str:
        return f"{self.ancestor_id} over {self.descendant_id} by {self.depth}"


class Role(models.Model):
    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    key = models.SlugField(max_length=40, unique=True)
    name = Line(max_length=80, unique=True)
    description = Line(max_length=200, blank=True)
    builtin = models.BooleanField(default=False, editable=False)

    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class RolePermission(models.Model):
    """One permission of a role, as its registered name."""

    role = models.ForeignKey(Role, on_delete=models.CASCADE, related_name="permissions")
    permission = models.CharField(max_length=64, db_index=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["role", "permission"], name="one_row_per_permission")]

    def __str__(self) -> str:
        return self.permission


class RoleAssignmentQuerySet(GuardedQuerySet["RoleAssignment"]):
    def valid(self, *, at: datetime) -> Self:
        return self.filter(Q(valid_from__lte=at) & (Q(valid_until=None) | Q(valid_until__gt=at)))

    def of(self, user: Any) -> Self:
        """Held directly, or through a group."""
        return self.filter(Q(user=user) | Q(group__user=user))


class RoleAssignment(models.Model):
    """A role held by a person, service or group at a unit and below, for a time and a reason."""

    class Source(models.TextChoices):
        MANUAL = "manual", "By hand"
        SETUP = "setup", "Set-up"
        DEFAULT = "default", "By default"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="assignments"
    )
    group = models.ForeignKey(Group, on_delete=models.CASCADE, null=True, blank=True, related_name="assignments")
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="assignments")
    unit = models.ForeignKey(Unit, on_delete=models.PROTECT, related_name="assignments")
    valid_from = models.DateTimeField(default=timezone.now)
    valid_until = models.DateTimeField(null=True, blank=True)
    source = models.CharField(max_length=8, choices=Source, default=Source.MANUAL, editable=False)
    reason = Line(max_length=300)

    objects = RoleAssignmentQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(user=None, group__isnull=False) | Q(user__isnull=False, group=None), name="user_xor_group"
            ),
            models.CheckConstraint(
                condition=Q(valid_until=None) | Q(valid_until__gt=F("valid_from")), name="assignment_ends_after_start"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user or self.group}: {self.role} at {self.unit}"
