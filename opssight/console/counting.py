"""Several counts and yes-or-no questions in one query; no count walks further than a screen can show."""

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


def ask(user: Any, **questions: Any) -> dict[str, Any]:
    """Each answer by name. A question is a queryset, to be counted, or an expression such as `access.condition`."""
    asked = [Counted(q) if isinstance(q, QuerySet) else q for q in questions.values()]
    answers = User.objects.filter(pk=user.pk).values_list(*asked).get()
    return dict(zip(questions, answers, strict=True))


def figure(number: int) -> str:
    return f"{CAP:,}+" if number > CAP else f"{number:,}"
