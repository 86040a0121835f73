"""The sealed log over the trail's entries: what waits, the leaves, the tree's larger nodes, and signed checkpoints.

Writers of entries share nothing: a trigger puts each entry into the outbox, and the sealer alone gives positions.
"""

from typing import Self

from django.db import models

from audit.models import AuditEntry
from opssight.kernel.appendonly import AppendOnlyModel, AppendOnlyQuerySet

HASH_BYTES = 32
NODE_LEVELS = (8, 16, 24)  # roots of 2^8, 2^16 and 2^24 leaves are kept: any proof reads a few hundred rows


class Pending(models.Model):
    """The outbox: entries that are not sealed yet. Filled by a trigger (`audit.guard`), emptied by the sealer."""

    entry = models.OneToOneField(
        AuditEntry, primary_key=True, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"#{self.pk} waits"


class Leaf(AppendOnlyModel):
    """An entry's place in the tree: `position` from 0 without gaps, `hash` over its canonical bytes."""

    position = models.BigIntegerField(primary_key=True)
    entry = models.OneToOneField(AuditEntry, on_delete=models.DO_NOTHING, db_constraint=False, related_name="leaf")
    hash = models.BinaryField(max_length=HASH_BYTES)
    quarantined = models.BooleanField(default=False, help_text="its MAC was wrong when it was sealed")

    objects = AppendOnlyQuerySet["Leaf"].as_manager()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["position"], name="leaf_quarantined", condition=models.Q(quarantined=True))]

    def __str__(self) -> str:
        return f"leaf {self.position}"


class Node(AppendOnlyModel):
    """The root of a full subtree: of the 2^level leaves from position * 2^level on."""

    level = models.PositiveSmallIntegerField()
    position = models.BigIntegerField()
    hash = models.BinaryField(max_length=HASH_BYTES)

    objects = AppendOnlyQuerySet["Node"].as_manager()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["level", "position"], name="node_once")]

    def __str__(self) -> str:
        return f"node {self.level}/{self.position}"


class CheckpointQuerySet(AppendOnlyQuerySet["Checkpoint"]):
    def newest(self) -> "Checkpoint | None":
        return self.order_by("-pk").first()

    def covering(self, position: int) -> Self:
        return self.filter(size__gt=position)


class Checkpoint(AppendOnlyModel):
    """A signed note over the first `size` leaves. One of the same size as the one before says: nothing was added."""

    size = models.BigIntegerField(db_index=True)
    at = models.DateTimeField()
    note = models.TextField()
    peaks = models.BinaryField(help_text="the roots of the full subtrees, the largest first; 32 bytes each")

    objects = CheckpointQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"checkpoint of {self.size} at {self.at:%Y-%m-%d %H:%M:%S}"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def waiting(self) -> Self:
        return self.filter(at=None)


class Delivery(models.Model):
    """A checkpoint on its way to one anchor; `at` is when the anchor took it."""

    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="deliveries")
    anchor = models.CharField(max_length=255)
    at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    next_try = models.DateTimeField()
    error = models.CharField(max_length=300, blank=True)
    told = models.BooleanField(default=False, help_text="that it is late stands in the trail")

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["anchor", "checkpoint"], name="delivered_once")]
        indexes = [
            models.Index(fields=["anchor", "checkpoint"], name="delivery_waiting", condition=models.Q(at__isnull=True))
        ]

    def __str__(self) -> str:
        return f"checkpoint {self.checkpoint_id} to {self.anchor}"


class VerificationQuerySet(models.QuerySet["Verification"]):
    def furthest(self) -> "Verification | None":
        """The one from which the next can go on."""
        return self.exclude(verified_checkpoint="").order_by("-verified_size", "-verified_at").first()


class Verification(models.Model):
    """How the last verification of its kind ended. `verified_…` are of the last one that found nothing wrong."""

    class Scope(models.TextChoices):
        FULL = "full", "the whole log"
        NEW = "new", "what came since the last verification"

    scope = models.CharField(max_length=4, choices=Scope, unique=True)
    verdict = models.CharField(max_length=8)
    started_at = models.DateTimeField()
    at = models.DateTimeField()
    size = models.BigIntegerField()
    checked = models.BigIntegerField()
    anchored = models.BigIntegerField(null=True, help_text="the largest size that an anchor confirms")
    counts = models.JSONField(help_text="problems, by kind")
    problems = models.JSONField(help_text="the first hundred of each kind")
    error = models.TextField(blank=True)
    verified_size = models.BigIntegerField(default=0)
    verified_at = models.DateTimeField(null=True)
    verified_checkpoint = models.CharField(max_length=64, blank=True, help_text="SHA-256 of its note")

    objects = VerificationQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.get_scope_display()}: {self.verdict}, up to #{self.verified_size}"
