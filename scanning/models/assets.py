"""What is scanned, who may do something on one of it alone, and what tools it does without."""

from typing import Self

from django.conf import settings
from django.db import models
from django.utils import timezone
from guardian.managers import GroupObjectPermissionManager, UserObjectPermissionManager
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.crypto import Encrypted
from opssight.kernel.ids import new_uid
from opssight.kernel.validation import Line
from rbac.models import DatedQuerySet, ObjectGrant, Unit


class AssetQuerySet(GuardedQuerySet["Asset"]):
    def active(self) -> Self:
        return self.filter(is_active=True)


class Asset(models.Model):
    """Something that is scanned. `location` is what the kind says: the path of a folder or file on the server, a
    repository's address, or an image's reference; an uploaded file and the installation need none."""

    class Kind(models.TextChoices):
        FOLDER = "folder", "Folder"
        GIT = "git", "Git repository"
        ARCHIVE = "archive", "Archive of files"
        IMAGE = "image", "Container image"
        INSTALLATION = "installation", "This installation"

    FILES = (Kind.ARCHIVE, Kind.IMAGE)  # one file, on the server or uploaded; or an image in its registry

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    unit = models.ForeignKey(Unit, on_delete=models.PROTECT, related_name="assets")
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.FOLDER)
    name = Line(max_length=200)
    location = models.CharField(max_length=1000, blank=True)
    is_active = models.BooleanField("active", default=True, help_text="An inactive one is not scanned, nor counted.")
    branch = Line(max_length=200, blank=True, help_text="Of a repository: branch or tag; without, the one it names.")
    username = Line(max_length=200, blank=True, help_text="Whom a repository or registry knows us as.")
    secret_encrypted = models.TextField(blank=True, editable=False)
    upload = models.CharField(max_length=32, blank=True, editable=False)  # the token of the file that counts
    upload_name = models.CharField(max_length=200, blank=True, editable=False)
    upload_digest = models.CharField(max_length=64, blank=True, editable=False)
    uploaded_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    secret = Encrypted("secret_encrypted")
    objects = AssetQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["unit", "name"], name="asset_name_unique_in_unit"),
            models.UniqueConstraint(
                fields=["unit", "kind", "location"],
                name="one_asset_per_location",
                condition=~models.Q(location="", kind__in=["archive", "image"]),
            ),
        ]
        indexes = [models.Index(fields=["name", "id"], name="asset_by_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def has_secret(self) -> bool:
        return bool(self.secret_encrypted)


class AssetUserGrant(ObjectGrant, UserObjectPermissionBase):
    """One person may do one thing on one asset, or on its scans and findings."""

    content_object = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="user_grants")

    objects = UserObjectPermissionManager.from_queryset(DatedQuerySet)()  # type: ignore[assignment,misc]

    class Meta(UserObjectPermissionBase.Meta):
        default_permissions = ()
        unique_together = ["user", "permission", "content_object"]
        verbose_name = "grant on an asset to a person"
        verbose_name_plural = "grants on assets to people"
        constraints = [ObjectGrant.ends_after_start("asset_user_grant_ends_after_start")]

    def __str__(self) -> str:
        return f"{self.user}: {self.permission.codename} on {self.content_object}"


class AssetGroupGrant(ObjectGrant, GroupObjectPermissionBase):
    """The same for a group."""

    content_object = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="group_grants")

    objects = GroupObjectPermissionManager.from_queryset(DatedQuerySet)()  # type: ignore[assignment,misc]

    class Meta(GroupObjectPermissionBase.Meta):
        default_permissions = ()
        unique_together = ["group", "permission", "content_object"]
        verbose_name = "grant on an asset to a group"
        verbose_name_plural = "grants on assets to groups"
        constraints = [ObjectGrant.ends_after_start("asset_group_grant_ends_after_start")]

    def __str__(self) -> str:
        return f"{self.group}: {self.permission.codename} on {self.content_object}"


class RetiredTool(models.Model):
    """A tool that an asset does without: its runs there say nothing of it any more, until it is asked for again."""

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="retired_tools")
    scanner = models.CharField(max_length=32)
    reason = Line(max_length=500)
    retired_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    retired_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["asset", "scanner"], name="retired_tool_once")]

    def __str__(self) -> str:
        return f"{self.scanner} on {self.asset}"
