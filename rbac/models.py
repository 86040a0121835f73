from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from opssight.kernel.access import GuardedQuerySet, is_registered, resources
from opssight.kernel.ids import new_uid
from opssight.kernel.validation import Line
from rbac.roles import PRIVILEGED

ONE_HOLDER = Q(user=None, group__isnull=False) | Q(user__isnull=False, group=None)
NAME_ONE = "Name one user or one group."


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


class RoleQuerySet(GuardedQuerySet["Role"]):
    def privileged(self) -> Self:
        held = RoleEffect.objects.filter(permission__in=PRIVILEGED)
        return self.filter(pk__in=held.values("role"))


class Role(models.Model):
    """A named set of permissions, its own and its parents'."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    key = models.SlugField(max_length=40, unique=True)
    name = Line(max_length=80, unique=True)
    description = Line(max_length=200, blank=True)
    builtin = models.BooleanField(default=False, editable=False)
    parents = models.ManyToManyField("self", symmetrical=False, blank=True, related_name="children")

    objects = RoleQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name

    @property
    def own_permissions(self) -> list[str]:
        return sorted(row.permission for row in self.permissions.all())


class RolePermission(models.Model):
    """One permission of a role, as its registered name."""

    role = models.ForeignKey(Role, on_delete=models.CASCADE, related_name="permissions")
    permission = models.CharField(max_length=64, db_index=True)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["role", "permission"], name="one_row_per_permission")]

    def __str__(self) -> str:
        return self.permission


class RoleEffect(models.Model):
    """What a role gives in the end: its own permissions and those of its parents, each with the role it comes `via`.

    Follows from `RolePermission` and `Role.parents`; kept by `role_book.rebuild_effects`.
    """

    role = models.ForeignKey(Role, on_delete=models.CASCADE, related_name="effects")
    permission = models.CharField(max_length=64, db_index=True)
    via = models.ForeignKey(Role, on_delete=models.CASCADE, related_name="+")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["role", "permission"], name="one_effect_per_permission")]

    def __str__(self) -> str:
        return f"{self.role} gives {self.permission}"


class DatedQuerySet(GuardedQuerySet[Any]):
    """Rules with a subject (a user or a group) and a time in which they hold."""

    def valid(self, *, at: datetime) -> Self:
        return self.filter(Q(valid_from__lte=at) & (Q(valid_until=None) | Q(valid_until__gt=at)))

    def not_ended(self, *, at: datetime) -> Self:
        """Those that hold, and those that will."""
        return self.filter(Q(valid_until=None) | Q(valid_until__gt=at))

    def ending(self, *, before: datetime) -> Self:
        return self.filter(valid_until__lte=before)

    def of(self, user: Any) -> Self:
        """About the user directly, or about a group of theirs."""
        return self.filter(Q(user=user) | Q(group__user=user))


class AssignmentQuerySet(DatedQuerySet):
    def unused(self, *, since: datetime) -> Self:
        """Held since before `since` by people who have not signed in from then on, beyond the role of everybody."""
        rows = self.exclude(role__key="employee").filter(user__isnull=False, valid_from__lt=since)
        return rows.filter(Q(user__last_login__lt=since) | Q(user__last_login=None))


class Dated(models.Model):
    """When a rule holds, and why it was made."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    valid_from = models.DateTimeField(default=timezone.now)
    valid_until = models.DateTimeField(null=True, blank=True)
    reason = Line(max_length=300)

    class Meta:
        abstract = True

    def clean(self) -> None:
        super().clean()
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            raise ValidationError({"valid_until": "It ends before it begins."})

    @property
    def subject(self) -> Any:
        """The person or group that it is about."""
        return getattr(self, "user", None) or getattr(self, "group", None)

    def holds(self, *, at: datetime) -> bool:
        return self.valid_from <= at and (self.valid_until is None or self.valid_until > at)


class RoleAssignment(Dated):
    """A role held by a person, service or group at a unit and below, for a time and a reason."""

    class Source(models.TextChoices):
        MANUAL = "manual", "By hand"
        SETUP = "setup", "Set-up"
        DEFAULT = "default", "By default"

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="assignments"
    )
    group = models.ForeignKey(Group, on_delete=models.CASCADE, null=True, blank=True, related_name="assignments")
    role = models.ForeignKey(Role, on_delete=models.PROTECT, related_name="assignments")
    unit = models.ForeignKey(Unit, on_delete=models.PROTECT, related_name="assignments")
    source = models.CharField(max_length=8, choices=Source, default=Source.MANUAL, editable=False)

    objects = AssignmentQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=ONE_HOLDER, name="user_xor_group", violation_error_message=NAME_ONE),
            models.CheckConstraint(
                condition=Q(valid_until=None) | Q(valid_until__gt=F("valid_from")), name="assignment_ends_after_start"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject}: {self.role} at {self.unit}"


class DenyRule(Dated):
    """Takes a permission away from a person or group at a unit and below, whatever grants it.

    `permission` is a registered name, or all of a resource: "findings:*".
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="denies"
    )
    group = models.ForeignKey(Group, on_delete=models.CASCADE, null=True, blank=True, related_name="denies")
    permission = models.CharField(max_length=64)
    unit = models.ForeignKey(Unit, on_delete=models.PROTECT, related_name="denies")

    objects = DatedQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=ONE_HOLDER, name="deny_user_xor_group", violation_error_message=NAME_ONE),
            models.CheckConstraint(
                condition=Q(valid_until=None) | Q(valid_until__gt=F("valid_from")), name="deny_ends_after_start"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.subject}: no {self.permission} at {self.unit}"

    def clean(self) -> None:
        super().clean()
        resource, _, action = self.permission.partition(":")
        if not (is_registered(self.permission) or (action == "*" and resource in resources)):
            raise ValidationError({"permission": f"{self.permission} is not a permission, nor all of a resource."})


class ObjectGrant(Dated):
    """A permission on one object: guardian's row (who, which permission, which object) with a time and a reason.

    A subject declares two tables on it, for users and for groups, and registers them with `kernel.access`.
    """

    granted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = DatedQuerySet.as_manager()

    class Meta:
        abstract = True

    @staticmethod
    def ends_after_start(name: str) -> models.CheckConstraint:
        return models.CheckConstraint(condition=Q(valid_until=None) | Q(valid_until__gt=F("valid_from")), name=name)
