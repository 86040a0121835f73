"""Reports that were made elsewhere. Each run in one is a scan of the asset; what it changed can be taken back."""

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.ids import new_uid
from scanning.models import Asset, Finding, Scan, Severity, Status


class ImportQuerySet(GuardedQuerySet["Import"]):
    pass


class Import(models.Model):
    """One report, taken in whole or not at all. `digest` is the SHA-256 of the bytes that came."""

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    asset = models.ForeignKey(Asset, on_delete=models.PROTECT, related_name="imports")
    imported_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    name = models.CharField(max_length=200, blank=True, help_text="What the file was called.")
    digest = models.CharField(max_length=64)
    is_partial = models.BooleanField(default=False, help_text="It closes only in the files that it says it read.")
    scans = models.ManyToManyField(Scan, related_name="imports")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    undone_at = models.DateTimeField(null=True, blank=True)

    objects = ImportQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"import of {self.name or self.digest[:12]} for {self.asset}"


class Change(models.Model):
    """How a finding was before an import gave it another state or detail, and which state that was.

    `detail` holds the fields that the report filled otherwise, as they were.
    """

    imported = models.ForeignKey(Import, on_delete=models.CASCADE, related_name="changes")
    finding = models.ForeignKey(Finding, on_delete=models.CASCADE, related_name="+")
    status = models.CharField(max_length=16, choices=Status)
    severity = models.SmallIntegerField(choices=Severity)
    due_at = models.DateTimeField(null=True)
    fixed_at = models.DateTimeField(null=True)
    became = models.CharField(max_length=16, choices=Status)
    detail = models.JSONField(default=dict, encoder=DjangoJSONEncoder)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.finding_id}: {self.status} before {self.imported_id}"
