"""Rows that are written once: the ORM refuses to change or remove them."""

from typing import Any, NoReturn, TypeVar

from django.db import models

from opssight.kernel.access import GuardedQuerySet

M = TypeVar("M", bound=models.Model)


class AppendOnly(Exception):
    """The table takes new rows and nothing else."""

    def __init__(self, model: type[models.Model], what: str) -> None:
        super().__init__(f"{model._meta.verbose_name_plural} are never {what}")


class AppendOnlyQuerySet(GuardedQuerySet[M]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnly(self.model, "updated")

    def delete(self) -> NoReturn:
        raise AppendOnly(self.model, "deleted")

    def bulk_create(self, objs: Any, *args: Any, **kwargs: Any) -> Any:
        """Rows in bulk are as good as one by one; an upsert is an update."""
        if kwargs.get("update_conflicts"):
            raise AppendOnly(self.model, "updated")
        return super().bulk_create(objs, *args, **kwargs)


class AppendOnlyModel(models.Model):
    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly(type(self), "updated")
        # A new object under an old key would otherwise be written as an UPDATE.
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly(type(self), "deleted")
