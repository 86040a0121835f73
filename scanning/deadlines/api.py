"""What the API says of deadlines; an action of the findings."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from opssight.kernel.rest.serializers import StrictSerializer
from scanning.deadlines.share import Figure, Period, Share

DAYS = 30
LONGEST = timedelta(days=366)


class AskedPeriod(StrictSerializer):
    days = serializers.IntegerField(min_value=1, max_value=LONGEST.days, required=False)
    since = serializers.DateTimeField(required=False)
    until = serializers.DateTimeField(required=False)

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        """`period` from days, or from since and perhaps until."""
        now = timezone.now()
        since, until = asked.get("since"), asked.get("until") or now
        if since is None:
            if "until" in asked:
                raise serializers.ValidationError({"since": "is missing: say from when on, or give days alone."})
            return {"period": Period.of_days(asked.get("days", DAYS), until=now)}
        if "days" in asked:
            raise serializers.ValidationError({"days": "stands for since and until: give one or the other."})
        if not since < until <= now:
            raise serializers.ValidationError({"until": "is after since, and not in the future."})
        if until - since > LONGEST:
            raise serializers.ValidationError({"since": f"is at most {LONGEST.days} days before the end."})
        return {"period": Period(since, until)}


class ShareSerializer(serializers.Serializer[Any]):
    in_time = serializers.IntegerField(help_text="Fixed in the period, by its deadline.")
    late = serializers.IntegerField(help_text="Fixed in the period, after its deadline.")
    overdue = serializers.IntegerField(help_text="Unresolved and past its deadline at the period's end.")
    counted = serializers.IntegerField(help_text="The three together.")
    percent = serializers.DecimalField(
        5, 1, allow_null=True, help_text="in_time of counted, rounded down; null where nothing was counted."
    )


class SeverityShare(ShareSerializer):
    severity = serializers.CharField()


class UnitShare(ShareSerializer):
    unit = serializers.UUIDField()
    name = serializers.CharField()


class LeftOut(serializers.Serializer[Any]):
    """Findings that would count, but for the reason."""

    no_deadline = serializers.IntegerField()
    accepted = serializers.IntegerField()
    false_positive = serializers.IntegerField()
    duplicate = serializers.IntegerField()
    inactive = serializers.IntegerField(help_text="Of assets that are not active.")


class KnownSerializer(serializers.Serializer[Any]):
    assets = serializers.IntegerField(help_text="Active assets in sight.")
    not_known = serializers.IntegerField(
        help_text="Of them never scanned, or the newest run of a tool failed, missed a part, or is older than a week."
    )


class WithinSla(ShareSerializer):
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    by_severity = SeverityShare(many=True)
    by_unit = UnitShare(many=True)
    left_out = LeftOut()
    known = KnownSerializer(allow_null=True, help_text="Null for who may not read assets and scans.")


def told(figure: Figure) -> dict[str, Any]:
    by_severity = [{"severity": severity.word, **_told(share)} for severity, share in figure.by_severity.items()]
    by_unit = [{"unit": unit.uid, "name": unit.name, **_told(share)} for unit, share in figure.by_unit.items()]
    more = {"by_severity": by_severity, "by_unit": by_unit, "left_out": figure.left_out, "known": figure.known}
    return dict(WithinSla({**figure.period._asdict(), **_told(figure.total), **more}).data)


def _told(share: Share) -> dict[str, Any]:
    names = ("in_time", "late", "overdue", "counted", "percent")
    return {name: getattr(share, name) for name in names}
