"""Keeping a person's views of the queue."""

from typing import Any

from django.db import transaction

from accounts.models import User
from opssight.kernel.errors import Refusal
from scanning.triage.models import SavedView

MOST = 30


class NotKept(Refusal):
    """There are too many, or one of that name."""

    status = 409


@transaction.atomic
def save_view(name: str, query: str, *, by: Any) -> SavedView:
    """Keep a query of the queue, which the caller has checked, under a name of one's own.

    NotKept where there are MOST already, or one of that name.
    """
    User.objects.select_for_update().get(pk=by.pk)  # two at once must not pass the count
    own = SavedView.objects.filter(owner=by)
    if own.filter(name__iexact=name).exists():
        raise NotKept(f"You have a view {name} already. Remove it first, or choose another name.")
    if own.count() >= MOST:
        raise NotKept(f"You have {MOST} views already. Remove one first.")
    view = SavedView(owner=by, name=name, query=query)
    view.full_clean()
    view.save()
    return view
