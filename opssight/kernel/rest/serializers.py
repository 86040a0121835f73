"""Serializers that refuse what they do not know, and answer only what was asked for."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import models
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from opssight.kernel.validation import one_line, some_lines, tidy

READ_ONLY = "is read-only."
UNKNOWN = "is not a field of this resource."


class Text(serializers.CharField):
    """Text in NFC without odd characters; of a type only text has, where DRF would take numbers and booleans too."""

    def __init__(self, *, lines: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators.append(some_lines if lines else one_line)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return tidy(super().to_internal_value(data))


def uid(**kwargs: Any) -> "serializers.SlugRelatedField[Any]":
    """A related object by its uid; read-only unless a queryset is given."""
    return serializers.SlugRelatedField(slug_field="uid", **(kwargs or {"read_only": True}))


class Strict:
    """Refuses unknown and read-only fields by name, and honours `?fields=a,b`."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            fields: Any = self.fields  # type: ignore[attr-defined]
            errors = {str(name)[:80]: [UNKNOWN] for name in data if name not in fields}
            errors |= {name: [READ_ONLY] for name, field in fields.items() if name in data and field.read_only}
            if errors:
                raise ValidationError(errors)
        return super().to_internal_value(data)  # type: ignore[misc]

    @property
    def _readable_fields(self) -> Any:
        wanted = self.context.get("fields")  # type: ignore[attr-defined]
        for field in super()._readable_fields:  # type: ignore[misc]
            if wanted is None or field.field_name in wanted:
                yield field


class StrictSerializer(Strict, serializers.Serializer[Any]):
    pass


class StrictModelSerializer(Strict, serializers.ModelSerializer[Any]):
    serializer_field_mapping: ClassVar[dict[Any, Any]] = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.CharField: Text,
    }
