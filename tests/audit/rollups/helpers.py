"""Entries of chosen traits, and the naive query that the figures must equal."""

from datetime import date, datetime
from typing import Any

from django.db import connection

from audit.models import AuditEntry
from audit.rollups import services

NAIVE = """
SELECT {day} AS day,
    COUNT(*) AS total,
    COUNT(CASE WHEN NOT success THEN 1 END) AS failed,
    COUNT(CASE WHEN action = 0 THEN 1 END) AS creations,
    COUNT(CASE WHEN action = 3 THEN 1 END) AS reads,
    COUNT(CASE WHEN action = 1 THEN 1 END) AS updates,
    COUNT(CASE WHEN action = 2 THEN 1 END) AS deletions,
    COUNT(CASE WHEN action IS NULL THEN 1 END) AS events,
    COUNT(DISTINCT actor_id) AS unique_users,
    COUNT(*) - COUNT(actor_id) AS without_user
FROM audit_auditentry WHERE {where} GROUP BY 1 ORDER BY 1
"""
DISTINCT = "SELECT COUNT(DISTINCT actor_id) FROM audit_auditentry WHERE {where}"


def write(at: datetime, **columns: Any) -> AuditEntry:
    """An entry dated `at`; tags follow from `event`, `resource_type` and `action` as ever."""
    entry = AuditEntry(timestamp=at, **columns)
    entry.save()
    return entry


def naive(start: date, end: date, framework: str = services.ALL) -> tuple[dict[str, dict[str, int]], int]:
    """The seed's query without its traps: {day: figures}, and the distinct users of the whole period."""
    lite = connection.vendor == "sqlite"
    day = "substr(timestamp, 1, 10)" if lite else "(timestamp AT TIME ZONE 'UTC')::date::text"
    tagged = "EXISTS (SELECT 1 FROM json_each(compliance_tags) WHERE value = %s)" if lite else "compliance_tags ? %s"
    where, values = f"{day} BETWEEN %s AND %s", [str(start), str(end)]
    if framework != services.ALL:
        where, values = f"{where} AND {tagged}", [*values, framework]
    with connection.cursor() as cursor:
        cursor.execute(NAIVE.format(day=day, where=where), values)
        names = [column[0] for column in cursor.description]
        rows = {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in cursor.fetchall()}
        cursor.execute(DISTINCT.format(where=where), values)
        return rows, cursor.fetchone()[0]
