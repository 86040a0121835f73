"""Several counts in one query; none walks further than a screen can show."""

from typing import Any

from django.db.models import IntegerField, QuerySet, Subquery

from accounts.models import User

CAP = 9_999


class Counted(Subquery):
    """How many rows a queryset has, at most one more than CAP; `figure` spells the excess as a plus."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()
    empty_result_set_value = 0

    def __init__(self, rows: QuerySet[Any]) -> None:
        super().__init__(rows.order_by().values("pk")[: CAP + 1])


def ask(user: Any, **questions: QuerySet[Any]) -> dict[str, int]:
    """How many rows each named queryset has."""
    answers = User.objects.filter(pk=user.pk).values_list(*map(Counted, questions.values())).get()
    return dict(zip(questions, answers, strict=True))


def figure(number: int) -> str:
    return f"{CAP:,}+" if number > CAP else f"{number:,}"
