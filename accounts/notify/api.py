"""`/api/v1/me/notices`: what one is written to about, and turning that off or on again."""

from typing import Any

from django.core.exceptions import ValidationError as ModelError
from django.http import Http404
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.caller import caller
from accounts.models import User
from accounts.notify import services
from accounts.notify.models import Preference
from opssight.kernel.rest.serializers import StrictSerializer
from opssight.kernel.rest.views import Resource


class NoticeKindSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    about = serializers.CharField()
    compulsory = serializers.BooleanField(help_text="It warns of a stranger, and can't be turned off.")
    by_email = serializers.BooleanField()


class NoticeKindList(serializers.Serializer[Any]):
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = NoticeKindSerializer(many=True)


class Wish(StrictSerializer):
    by_email = serializers.BooleanField()


class MyNoticesViewSet(Resource):
    resource = "me"
    queryset = Preference.objects.none()
    serializer_class = NoticeKindSerializer

    @extend_schema(operation_id="me_notices_list", responses=NoticeKindList)
    def list(self, request: Request) -> Response:
        """Every kind of mail, and whether the caller gets it. There are never many: it is one page."""
        return Response({"next": None, "previous": None, "results": _kinds_of(request)})

    @extend_schema(operation_id="me_notices_retrieve")
    def retrieve(self, request: Request, kind: str) -> Response:
        """One kind of mail, and whether the caller gets it."""
        return Response(_one(request, kind))

    @extend_schema(operation_id="me_notices_update", request=Wish, responses=NoticeKindSerializer)
    def update(self, request: Request, kind: str) -> Response:
        """Turn one kind of mail off, or on again."""
        _one(request, kind)
        asked = Wish(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            services.set_preference(caller(request), kind, **asked.validated_data)
        except ModelError as error:
            raise ValidationError(error.message_dict) from None
        return Response(_one(request, kind))


def _kinds_of(request: Request) -> list[dict[str, Any]]:
    assert isinstance(request.user, User)
    return [
        {"kind": kind.name, "about": kind.says, "compulsory": kind.compulsory, "by_email": by_email}
        for kind, by_email in services.preferences(request.user)
    ]


def _one(request: Request, kind: str) -> dict[str, Any]:
    for row in _kinds_of(request):
        if row["kind"] == kind:
            return row
    raise Http404


urlpatterns = [
    path("me/notices", MyNoticesViewSet.as_view({"get": "list"}), name="my-notices"),
    path("me/notices/<str:kind>", MyNoticesViewSet.as_view({"get": "retrieve", "patch": "update"}), name="my-notice"),
]
