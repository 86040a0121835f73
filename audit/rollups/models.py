"""What the sealed entries come to, by UTC day and framework: counted in the transaction that seals them."""

from django.db import models

ALL = "all"  # stands for every entry, whatever it is evidence for


class DayCount(models.Model):
    """Entries of one day that are evidence for `framework`.

    total = creations + reads + updates + deletions + events.
    """

    pk = models.CompositePrimaryKey("framework", "day")
    framework = models.CharField(max_length=16)
    day = models.DateField()
    total = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    creations = models.PositiveIntegerField(default=0)
    reads = models.PositiveIntegerField(default=0)
    updates = models.PositiveIntegerField(default=0)
    deletions = models.PositiveIntegerField(default=0)
    events = models.PositiveIntegerField(default=0, help_text="named events, which carry no action of their own")
    unique_users = models.PositiveIntegerField(default=0)
    without_user = models.PositiveIntegerField(default=0, help_text="by nobody's account: commands, tasks, strangers")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.framework} {self.day}: {self.total}"


class DayUser(models.Model):
    """An account had entries on this day. Distinct users of a period can't be added up from those of its days."""

    pk = models.CompositePrimaryKey("framework", "day", "user_id")
    framework = models.CharField(max_length=16)
    day = models.DateField()
    user_id = models.BigIntegerField(help_text="the account's id; the account may be gone")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.framework} {self.day}: account {self.user_id}"
