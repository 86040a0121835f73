"""Query parameters, all of them known: a misspelt filter is a 400 and not the whole list."""

from typing import Any

import django_filters
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

MAX_LENGTH = 4096  # a signed cursor is a few hundred characters


class FilterSet(django_filters.FilterSet):
    """Filters of a list; the names are the query parameters."""


class ChoiceIn(django_filters.BaseInFilter, django_filters.ChoiceFilter):
    """`?status=open,triaged`."""


class UidFilter(django_filters.UUIDFilter):
    """A related object by its uid."""


class YesNo(django_filters.TypedChoiceFilter):
    """`?enabled=true`. Anything but true and false is a 400, where BooleanFilter would answer with the whole list."""

    def __init__(self, **kwargs: Any) -> None:
        both = [("true", "true"), ("false", "false")]
        super().__init__(choices=both, coerce=lambda text: text == "true", **kwargs)


def check_parameters(request: Request, known: set[str]) -> None:
    """Refuse parameters that the view does not know, that come twice, or that no value can look like."""
    errors: dict[str, str] = {}
    for name, values in request.query_params.lists():
        if name not in known:
            errors[name[:80]] = f"is not a parameter here. There are: {', '.join(sorted(known)) or 'none'}."
        elif len(values) > 1:
            errors[name] = "comes more than once."
        elif "\0" in values[0] or len(values[0]) > MAX_LENGTH:
            errors[name] = "is not a value that this parameter takes."
    if errors:
        raise ValidationError(errors)


def choices(enum: Any) -> list[tuple[str, str]]:
    return [(str(value), str(label)) for value, label in enum.choices]
