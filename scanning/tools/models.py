from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from opssight.kernel.access import GuardedQuerySet
from opssight.kernel.ids import new_uid
from opssight.kernel.jobs import Job, State


class Installation(Job):
    """Somebody asked OpsSight to install a tool; what came of it. At most one per tool is under way."""

    task: ClassVar[str] = "scanning.tools.tasks.install"

    uid = models.UUIDField(default=new_uid, unique=True, editable=False)
    tool = models.CharField(max_length=32)
    version = models.CharField(max_length=32)
    requested_by: Any = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    step = models.CharField(max_length=200, blank=True, help_text="What is being done now.")
    reason = models.TextField(blank=True, help_text="Why it failed: the last words of what was tried.")

    objects = GuardedQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["tool"],
                condition=Q(state__in=[State.QUEUED.value, State.RUNNING.value]),
                name="one_installation_under_way",
            )
        ]

    def __str__(self) -> str:
        return f"installation of {self.tool} {self.version}"

    def give_up(self, reason: str) -> None:
        from scanning.tools.services import fail

        fail(self, reason)
