from typing import Any, ClassVar

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from audit.export import FORMATS, export
from audit.filters import TrailForm
from audit.models import AuditEntry
from audit.reports.formats import as_dict
from audit.reports.serializers import ReportSerializer
from audit.reports.services import CHOICES, check_reach, period_of, report
from audit.search import Conditions, Search
from audit.serializers import EntrySerializer
from opssight.kernel.pagination import KeysetPagination
from opssight.kernel.rest.views import List, Resource, Retrieve


class TrailPagination(KeysetPagination):
    """Where few entries fit, a page may end before it is full: `next` then goes on from `searched_to`."""

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        response.data["searched_to"] = self.page.reached[0] if self.page.reached else None
        return response

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        described = super().get_paginated_response_schema(schema)
        text = "Where the search for these entries has come to, if `next` goes on with it; the page may be empty."
        described["properties"]["searched_to"] = {
            "type": ["string", "null"], "format": "date-time", "description": text,
        }  # fmt: skip
        described["required"].append("searched_to")
        return described


PARAMETERS = [OpenApiParameter(name, str, description=field.help_text) for name, field in TrailForm.base_fields.items()]
FORMAT = OpenApiParameter("format", str, description="csv or jsonl, one object a line.", enum=list(FORMATS))


class TrailViewSet(Resource, List, Retrieve):
    resource = "trail"
    queryset = AuditEntry.objects.select_related("personal", "leaf")
    serializer_class = EntrySerializer
    filter_backends = []
    pagination_class = TrailPagination
    takes: ClassVar[dict[str, set[str]]] = {
        "list": set(TrailForm.base_fields),
        "export": {"format", *TrailForm.base_fields},
        "report": {"framework", "start", "end"},
    }

    @classmethod
    def permission_for(cls, action: str) -> str:
        """An export is a reading; a report tells figures alone."""
        return "trail:report" if action == "report" else "trail:read"

    @extend_schema(parameters=PARAMETERS)
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Newest first, of those that fit all parameters."""
        search = Search(self.get_queryset(), conditions_of(request))
        rows = self.paginator.take(search.page, request, AuditEntry)  # type: ignore[union-attr]
        return self.get_paginated_response(self.get_serializer(rows, many=True).data)

    @extend_schema(
        parameters=[FORMAT, *PARAMETERS],
        responses={(200, "text/csv"): OpenApiTypes.STR, (200, "application/jsonl"): OpenApiTypes.STR},
    )
    @action(detail=False, pagination_class=None)
    def export(self, request: Request) -> StreamingHttpResponse:
        """The same entries as a file, at most the newest 100,000. The export itself becomes an entry."""
        asked = conditions_of(request)
        form = request.query_params.get("format", "csv")
        if form not in FORMATS:
            raise ValidationError({"format": f"{form[:20]} is none of: {', '.join(FORMATS)}."})
        return export(Search(self.get_queryset(), asked), form)

    @extend_schema(
        parameters=[
            OpenApiParameter("framework", str, required=True, enum=CHOICES, description="`all` for every entry."),
            OpenApiParameter("start", OpenApiTypes.DATE, required=True, description="The first day, in UTC."),
            OpenApiParameter("end", OpenApiTypes.DATE, required=True, description="The last day, which is inside."),
        ],
        responses=ReportSerializer,
    )
    @action(detail=False, pagination_class=None)
    def report(self, request: Request) -> Response:
        """What the trail came to on each day of a period, as evidence for one framework, and up to where it is
        covered. What waits to be sealed is sealed first. The report itself becomes an entry."""
        check_reach(request.user)
        asked = (request.query_params.get(name, "") for name in ("framework", "start", "end"))
        return Response(as_dict(report(period_of(*asked))))


def conditions_of(request: Request) -> Conditions:
    form = TrailForm(request.query_params)
    if not form.is_valid():
        raise ValidationError({name: [str(text) for text in texts] for name, texts in form.errors.items()})
    return form.conditions()
