import ipaddress
from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.strength import DEMANDS
from opssight.kernel.access import GuardedQuerySet, resources
from opssight.kernel.appendonly import AppendOnlyModel, AppendOnlyQuerySet
from opssight.kernel.ids import new_uid
from opssight.kernel.validation import Line
from rbac.access.conditions import BadCondition, compiled

MAX_NETWORKS = 200
MOST_MINUTES = 7 * 24 * 60
STRENGTHS = [(level, name.capitalize()) for level, name in DEMANDS.items()]
# One's own account and second factor: out of reach of every policy, so that nobody is kept from meeting one.
EXEMPT = frozenset({"me"})
ANY = "*"
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network(text: Any) -> Network:
    """A network in CIDR notation, or an address standing for itself; ValueError with a sentence."""
    shown = repr(text[:60]) if isinstance(text, str) else type(text).__name__
    try:
        found = ipaddress.ip_network(text.strip(), strict=False) if isinstance(text, str) else None
    except ValueError:
        found = None
    if found is None or "%" in text:  # a scope belongs to one machine's interface
        raise ValueError(f"{shown} is not a network such as 10.0.0.0/8 or 2001:db8::/32.")
    if "/" in text and str(found.network_address) != str(ipaddress.ip_address(text.split("/")[0].strip())):
        raise ValueError(f"{shown} has bits set beyond its mask; did you mean {found}?")
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        # Clients that come as mapped addresses are known by their IPv4 address.
        address = int(found.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((address, found.prefixlen - 96))
    return found


class Zone(models.Model):
    """A named part of the network, which conditions speak of: "office", "vpn"."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = models.CharField(
        max_length=40,
        unique=True,
        validators=[RegexValidator(r"^[a-z0-9][a-z0-9_-]*\Z", "Use lower-case letters, digits, - and _.")],
    )
    networks = models.JSONField(help_text="Networks in CIDR notation, such as 10.0.0.0/8.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        given = self.networks
        if not isinstance(given, list) or not 1 <= len(given) <= MAX_NETWORKS:
            raise ValidationError({"networks": f"Give 1 to {MAX_NETWORKS} networks."})
        try:
            self.networks = list(dict.fromkeys(str(network(text)) for text in given))
        except ValueError as error:
            raise ValidationError({"networks": str(error)}) from None


class PolicyQuerySet(GuardedQuerySet["Policy"]):
    def enabled(self) -> Self:
        return self.filter(enabled=True)


class Policy(models.Model):
    """A rule that narrows what roles allow, by what is known of the request. It never gives anything.

    `deny` refuses where its condition holds, `require_step_up` asks for the second factor again; both also where a fact
    is missing. Where there are `allow` policies for a permission, one of them must hold.
    """

    class Effect(models.TextChoices):
        DENY = "deny", "Deny"
        REQUIRE_STEP_UP = "require_step_up", "Require step-up"
        ALLOW = "allow", "Allow only"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    name = Line(max_length=80, unique=True)
    enabled = models.BooleanField(default=True)
    resource = models.CharField(max_length=40, default=ANY, help_text="Such as findings, or * for all.")
    action = models.CharField(max_length=40, default=ANY, help_text="Such as read, or * for all.")
    effect = models.CharField(max_length=16, choices=Effect)
    condition = models.JSONField()
    reason = Line(max_length=200, help_text="Told to those whom it refuses.")
    level = models.CharField(
        "strength",
        max_length=8,
        choices=STRENGTHS,
        blank=True,
        help_text="For a step-up: the weakest factor that does. Empty: any that the person has.",
    )
    max_age = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_MINUTES)],
        help_text="For a step-up: how many minutes it counts. Empty: 15.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = PolicyQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name_plural = "policies"
        constraints = [
            models.CheckConstraint(
                condition=Q(effect__in=["deny", "require_step_up", "allow"]), name="policy_effect_known"
            ),
            models.CheckConstraint(condition=~Q(resource__in=sorted(EXEMPT)), name="policy_spares_own_account"),
            models.CheckConstraint(
                condition=Q(effect="require_step_up") | Q(level="", max_age=None), name="policy_strength_of_step_up"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def covered(self) -> str:
        return f"{self.resource}:{self.action}"

    def clean(self) -> None:
        self._check_what_it_covers()
        if self.effect != self.Effect.REQUIRE_STEP_UP and (self.level or self.max_age):
            raise ValidationError({"effect": "Strength and minutes belong to a step-up."})
        if self.condition is None:
            return  # said already: it was no JSON, or is missing
        try:
            compiled(self.condition, Zone.objects.order_by("name").values_list("name", flat=True))
        except BadCondition as error:
            raise ValidationError({"condition": f"{error}."}) from None

    def _check_what_it_covers(self) -> None:
        if self.resource in EXEMPT:
            raise ValidationError({"resource": "No policy covers one's own account: it could not be met any more."})
        offered = {name: resource.actions for name, resource in resources.items() if name not in EXEMPT}
        if self.resource != ANY and self.resource not in offered:
            raise ValidationError({"resource": f"There is no such resource. There are: {', '.join(sorted(offered))}."})
        actions = offered[self.resource] if self.resource != ANY else {a for some in offered.values() for a in some}
        if self.action != ANY and self.action not in actions:
            raise ValidationError({"action": f"There is no such action here. There are: {', '.join(sorted(actions))}."})


# --- second factors -----------------------------------------------------------------------------------------------


class FactorRuleQuerySet(GuardedQuerySet["FactorRule"]):
    def enabled(self) -> Self:
        return self.filter(enabled=True)


class FactorRule(models.Model):
    """What a role asks of the second factor of whoever holds it: how strong, and how fresh.

    A weaker one is let pass for `grace_days` after the rule was switched on. Of several roles the strictest counts.
    """

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    role = models.OneToOneField("rbac.Role", on_delete=models.CASCADE, related_name="factor_rule")
    level = models.CharField("strength", max_length=8, choices=STRENGTHS, help_text="The weakest factor that does.")
    max_age = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(5), MaxValueValidator(MOST_MINUTES)],
        help_text="After how many minutes it is asked for again. Empty: not before the session ends.",
    )
    grace_days = models.PositiveSmallIntegerField(
        default=14, validators=[MaxValueValidator(90)], help_text="How long people have to set one up."
    )
    enabled = models.BooleanField(default=False)
    enabled_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = FactorRuleQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = "second factor rule"
        constraints = [
            models.CheckConstraint(condition=Q(level__in=[level for level, _ in STRENGTHS]), name="factor_level_known"),
            models.CheckConstraint(condition=Q(enabled=False) | Q(enabled_at__isnull=False), name="enabled_since"),
        ]

    def __str__(self) -> str:
        return f"second factor of {self.role}"

    @property
    def due_at(self) -> datetime | None:
        """From when it binds; None while it is off."""
        return self.enabled_at + timedelta(days=self.grace_days) if self.enabled and self.enabled_at else None


# --- traces -------------------------------------------------------------------------------------------------------


class AccessTrace(AppendOnlyModel):
    """Why policies refused one request: which, and what each part of their conditions said.

    Kept for `services.KEEP_TRACES`. That there was a refusal stays in the trail.
    """

    class Outcome(models.TextChoices):
        DENY = "deny", "Denied"
        STEP_UP = "step_up", "Step-up asked"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    at = models.DateTimeField(default=timezone.now, db_index=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    permission = models.CharField(max_length=64)
    outcome = models.CharField(max_length=8, choices=Outcome)
    policy = models.CharField(max_length=80)  # by name, since the policy may go before its traces do
    steps = models.JSONField()
    request_id = models.CharField(max_length=64, blank=True)
    address = models.GenericIPAddressField(null=True)

    objects = AppendOnlyQuerySet["AccessTrace"].as_manager()

    class Meta:
        default_permissions = ()
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.permission}: {self.get_outcome_display()}"

    @classmethod
    def purge(cls, *, before: datetime) -> int:
        """By their age alone, past the queryset that refuses to delete."""
        return models.QuerySet(cls).filter(at__lt=before).delete()[0]
