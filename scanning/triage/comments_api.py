from typing import Any

from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel.rest.filters import FilterSet, UidFilter
from opssight.kernel.rest.serializers import StrictModelSerializer, StrictSerializer, Text, uid
from opssight.kernel.rest.views import List, Resource, Retrieve, Update
from scanning.models import Finding
from scanning.triage import comments
from scanning.triage.models import Comment


def finding_named(request: Request, uid: Any) -> Finding:
    """The finding of that uid, where the caller may see it."""
    finding = Finding.objects.permitted(request.user, "findings:read").filter(uid=uid).first()
    if finding is None:
        raise Http404
    return finding


class CommentSerializer(StrictModelSerializer):
    finding = uid()
    author = uid()
    text = Text(lines=True, max_length=comments.LONGEST)

    class Meta:
        model = Comment
        fields = ["uid", "finding", "author", "text", "written_at", "edited_at"]
        read_only_fields = ["uid", "finding", "author", "written_at", "edited_at"]


class NewComment(StrictSerializer):
    finding = serializers.UUIDField()
    text = Text(lines=True, max_length=comments.LONGEST)


class CommentFilter(FilterSet):
    finding = UidFilter(field_name="finding__uid")
    author = UidFilter(field_name="author__uid")


class CommentViewSet(Resource, List, Retrieve, Update):
    resource = "comments"
    queryset = Comment.objects.select_related("finding", "author")
    serializer_class = CommentSerializer
    filterset_class = CommentFilter

    @classmethod
    def permission_for(cls, action: str) -> str:
        return super().permission_for("create" if action == "partial_update" else action)

    @extend_schema(request=NewComment, responses={201: CommentSerializer})
    def create(self, request: Request) -> Response:
        asked = NewComment(data=request.data)
        asked.is_valid(raise_exception=True)
        finding = finding_named(request, asked.validated_data["finding"])
        said = comments.comment(finding, asked.validated_data["text"], by=request.user)
        data, etag = self.represent(said)
        address = reverse("comments-detail", args=[said.uid])
        return Response(data, status=201, headers={"ETag": etag, "Location": address})

    def perform_update(self, serializer: Any) -> None:
        """By its author alone; that it was changed shows."""
        text = serializer.validated_data.get("text", serializer.instance.text)
        serializer.instance = comments.edit(serializer.instance, text, by=self.request.user)


routes = [("comments", CommentViewSet)]
