"""The shape of a period report, for the API's description."""

from rest_framework import serializers

from audit.reports.services import CHOICES
from opssight.kernel.rest.serializers import StrictSerializer


class PeriodSerializer(StrictSerializer):
    start = serializers.DateField()
    end = serializers.DateField()


class CountsSerializer(StrictSerializer):
    """total_actions = creations + reads + updates + deletions + events."""

    total_actions = serializers.IntegerField()
    failed_actions = serializers.IntegerField()
    creations = serializers.IntegerField()
    reads = serializers.IntegerField()
    updates = serializers.IntegerField()
    deletions = serializers.IntegerField()
    events = serializers.IntegerField(help_text="Named events, which carry no action of their own.")
    unique_users = serializers.IntegerField(help_text="Accounts; of a period no sum of those of its days.")
    without_user = serializers.IntegerField(help_text="Entries by nobody's account: commands, tasks, strangers.")


class DaySerializer(CountsSerializer):
    date = serializers.DateField()


class AnchoredSerializer(StrictSerializer):
    size = serializers.IntegerField()
    at = serializers.DateTimeField()


class CoverageSerializer(StrictSerializer):
    """The log that was counted."""

    size = serializers.IntegerField()
    counted = serializers.IntegerField(help_text="Less than size by entries that can't be read.")
    root = serializers.CharField(  # type: ignore[assignment]  # DRF's metaclass takes it
        help_text="Base64, as in the checkpoint."
    )
    checkpoint_at = serializers.DateTimeField(allow_null=True)
    complete = serializers.BooleanField(help_text="False where entries wait to be sealed.")
    quarantined = serializers.IntegerField(help_text="Entries with a wrong MAC.")
    anchored = AnchoredSerializer(allow_null=True, help_text="The largest size of which a copy was taken outside.")


class EvidenceSerializer(StrictSerializer):
    shows = serializers.CharField()
    clauses = serializers.ListField(child=serializers.CharField())
    of = serializers.ListField(child=serializers.CharField(), help_text="Events, models, or reading.")


class MappingSerializer(StrictSerializer):
    version = serializers.CharField()
    evidence = EvidenceSerializer(many=True)


class ReportSerializer(StrictSerializer):
    framework = serializers.ChoiceField(CHOICES)
    title = serializers.CharField()
    period = PeriodSerializer()
    daily_summary = DaySerializer(many=True)
    totals = CountsSerializer()
    trail_begins = serializers.DateField(allow_null=True, help_text="The first day with any entry.")
    generated_at = serializers.DateTimeField()
    covers = CoverageSerializer()
    mapping = MappingSerializer()
