from collections.abc import Callable, Iterator
from typing import Any

from django.db.models import F
from django.http import StreamingHttpResponse
from django.utils import timezone

from opssight.kernel import reads
from opssight.kernel.errors import Refusal
from scanning.exports import sarif, table
from scanning.exports.chosen import Chosen, Row
from scanning.models import Finding, FindingQuerySet
from scanning.triage.models import Decision

LIMIT = 100_000
BATCH = 500
Writer = Callable[[Chosen], Iterator[str]]
FORMATS: dict[str, tuple[Writer, str]] = {
    "sarif": (sarif.write, "application/sarif+json; charset=utf-8"),
    "csv": (table.write, "text/csv; charset=utf-8"),
}


class TooMany(Refusal):
    status = 400


def export(rows: FindingQuerySet, form: str, *, by: Any, asked: str) -> StreamingHttpResponse:
    """`rows` as a file of the format `form`, for `by`; its entry, with what was `asked`, is written before the first
    byte leaves. TooMany rather than a part that nobody takes for one."""
    chosen = _chosen(rows, by)
    reads.exported(Finding, count=len(chosen), filter=asked, format=form)
    write, content_type = FORMATS[form]
    response = StreamingHttpResponse(write(chosen), content_type=content_type)
    name = f"findings-{timezone.now():%Y-%m-%dT%H%M%SZ}.{form}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _chosen(rows: FindingQuerySet, by: Any) -> Chosen:
    """Keys are held, rows are not: so the entry has the exact count, and a finding is in the file once."""
    keys: dict[str, list[int]] = {}
    found = rows.order_by("scanner", "pk").values_list("scanner", "pk")
    for scanner, key in found[: LIMIT + 1]:
        keys.setdefault(scanner, []).append(key)
    if sum(map(len, keys.values())) > LIMIT:
        raise TooMany(f"There are more than {LIMIT:,} such findings. Narrow them, by asset or scanner for example.")

    def read(scanner: str) -> Iterator[Row]:
        mine = keys[scanner]
        for start in range(0, len(mine), BATCH):
            batch = mine[start : start + BATCH]
            known = Finding.objects.annotate(asset_uid=F("asset__uid"), asset_name=F("asset__name")).in_bulk(batch)
            reasons = _reasons(batch, by)
            yield from ((known[key], reasons.get(key, "")) for key in batch if key in known)  # some are gone since

    return Chosen(keys, read)


def _reasons(findings: list[int], by: Any) -> dict[int, str]:
    """Why each is in its state, by the newest decision that put it there, as far as `by` may read decisions."""
    made = Decision.objects.permitted(by, "decisions:read").filter(finding__in=findings, status=F("finding__status"))
    return dict(made.exclude(is_approved=False).order_by("pk").values_list("finding", "reason"))
