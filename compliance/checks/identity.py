"""Controls over accounts."""

from datetime import datetime
from typing import Any

from accounts.mfa.services import with_enrolment
from accounts.models import User
from compliance.checks.base import Evaluation, Row, control_test, unknown
from rbac.services import privileged_roles


@control_test("iam.mfa.privileged")
def privileged_accounts_use_a_second_factor(params: dict[str, Any], at: datetime) -> Evaluation:
    roles = privileged_roles(at=at)
    people = with_enrolment(User.objects.people().filter(pk__in=roles), "otp").order_by("email")
    rows = [_row(person, roles[person.pk], person.enrolled) for person in people]  # type: ignore[attr-defined]
    if not rows:
        return unknown("No active person holds a privileged role, so there is nothing to test. Check the assignments.")
    missing = sum(row.failed for row in rows)
    if missing:
        return Evaluation(
            rows,
            f"{missing} of {len(rows)} privileged accounts without a confirmed second factor. "
            "Have each of them sign in, which asks for one, or end the role.",
        )
    return Evaluation(rows, f"Every privileged account has a confirmed second factor, {len(rows)} of {len(rows)}.")


def _row(person: User, roles: list[str], enrolled: bool) -> Row:
    found = "A confirmed second factor" if enrolled else "No confirmed second factor"
    return Row.of(person, failed=not enrolled, detail=f"{found}. Privileged as {', '.join(roles)}.")
