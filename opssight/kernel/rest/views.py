"""What a resource's view set is made of."""

import hashlib
import json
import threading
import time
from typing import Any, ClassVar

from django.db import models, transaction
from django.http import Http404
from django.urls import reverse
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import mixins
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from opssight.kernel import reads
from opssight.kernel.errors import Refusal
from opssight.kernel.guards import GuardedMixin
from opssight.kernel.jobs import Job
from opssight.kernel.rest import idempotency
from opssight.kernel.rest.filters import check_parameters

MAX_WAIT = 30
POLL = 0.2
# A waiting request holds one of the web server's threads; the others must stay free to answer.
_waiters = threading.BoundedSemaphore(2)


class ChangedMeanwhile(Refusal):
    status = 412


class NoVersionGiven(Refusal):
    status = 428


class Resource(GuardedMixin, GenericViewSet[Any]):
    """Guarded, filtered by known parameters only, sparse where asked, and safe to repeat."""

    filter_backends = [DjangoFilterBackend]
    page_order: ClassVar[list[str]] = ["-id"]
    takes: ClassVar[dict[str, set[str]]] = {}  # further query parameters, by action

    def query_parameters(self) -> set[str]:
        action = self.action or ""
        known = set(self.takes.get(action, ()))
        if action in ("list", "retrieve"):
            known.add("fields")
        if action == "list":
            filterset = getattr(self, "filterset_class", None)
            known |= {"limit", "cursor", *(filterset.base_filters if filterset else ())}
        return known

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_parameters(request, self.query_parameters())
        self._record = idempotency.begin(request)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        record, self._record = getattr(self, "_record", None), None
        if record is not None:
            idempotency.finish(record, response)
        return with_rates(request, response)

    def filter_queryset(self, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """Filters belong to lists, and building their form costs more than asking whether there is one."""
        filters: Any = getattr(self, "filterset_class", None)
        asked = self.action == "list" and filters and filters.base_filters.keys() & self.request.query_params.keys()
        return super().filter_queryset(queryset) if asked else queryset

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "fields": self._wanted_fields()}

    def _wanted_fields(self) -> frozenset[str] | None:
        request = getattr(self, "request", None)
        asked = request.query_params.get("fields") if request else None
        if asked is None or self.action not in ("list", "retrieve"):
            return None
        wanted = frozenset(asked.split(","))
        serializer: Any = self.get_serializer_class()
        known = {*serializer._declared_fields, *serializer.Meta.fields}
        if unknown := sorted(wanted - known):
            raise ValidationError(
                {"fields": f"unknown: {', '.join(unknown)[:200]}. There are: {', '.join(sorted(known))}."}
            )
        return wanted

    def represent(self, obj: models.Model) -> tuple[dict[str, Any], str]:
        """The whole object as answered, and its strong ETag (RFC 9110 §8.8.3)."""
        serializer = self.get_serializer_class()(obj, context={**super().get_serializer_context()})
        data = dict(serializer.data)
        digest = hashlib.sha256(json.dumps(data, cls=JSONEncoder, sort_keys=True).encode()).hexdigest()
        return data, f'"{digest[:32]}"'


class PublicView(APIView):
    """For those who are nobody yet, under the same strictness and limits; `public` says why no permission is asked."""

    resource: ClassVar[str]
    public: ClassVar[str]
    authentication_classes: Any = ()
    permission_classes: Any = ()

    @classmethod
    def as_view(cls, **kwargs: Any) -> Any:
        view = super().as_view(**kwargs)
        view.public = cls.public  # type: ignore[attr-defined]
        return view

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_parameters(request, set())

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        return with_rates(request, super().finalize_response(request, response, *args, **kwargs))


def with_rates(request: Any, response: Any) -> Any:
    for name, value in getattr(request, "rate_limit_headers", {}).items():
        response[name] = value
    return response


class List(mixins.ListModelMixin):
    pass


class Retrieve:
    """One object, with the ETag that `If-None-Match` and `If-Match` take."""

    def retrieve(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        obj = self.get_object()
        reads.note_object(obj)
        if "fields" in request.query_params:  # a part of the object is not its version
            return Response(self.get_serializer(obj).data)
        data, etag = self.represent(obj)
        if etag in _tags(request, "If-None-Match"):
            return Response(status=304, headers={"ETag": etag})
        return Response(data, headers={"ETag": etag})


class Update:
    """PATCH of the version that was read: `If-Match` is required, and another one is a 412."""

    def partial_update(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        tags = _tags(request, "If-Match")
        if not tags:
            raise NoVersionGiven("Send If-Match with the ETag that you read, so that nobody's change is overwritten.")
        with transaction.atomic():
            locked = _locked(self, tags)
            serializer = self.get_serializer(locked, data=request.data, partial=True)
            serializer.is_valid(raise_exception=True)
            self.perform_update(serializer)
        data, etag = self.represent(serializer.instance)
        return Response(data, headers={"ETag": etag})


class Writes(Resource, List, Retrieve, Update):
    """Made and changed through one service, which decides; `_save` calls it and answers the row."""

    def _save(self, serializer: Any, instance: Any = None) -> Any:
        raise NotImplementedError

    def create(self, request: Request) -> Response:
        asked = self.get_serializer(data=request.data)
        asked.is_valid(raise_exception=True)
        data, etag = self.represent(self._save(asked))
        address = reverse(f"{self.resource}-detail", args=[data[self.lookup_field]])
        return Response(data, status=201, headers={"ETag": etag, "Location": address})

    def perform_update(self, serializer: Any) -> None:
        serializer.instance = self._save(serializer, serializer.instance)


def changed(serializer: Any, instance: Any, make: type[models.Model]) -> Any:
    """The row, or a new one, with the given values set; not yet saved."""
    row = instance if instance is not None else make()
    for name, value in serializer.validated_data.items():
        setattr(row, name, value)
    return row


class Delete:
    """DELETE of an object; where `If-Match` is sent, of the version that was read and no other."""

    def destroy(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        with transaction.atomic():
            self.perform_destroy(_locked(self, _tags(request, "If-Match") or ["*"]))
        return Response(status=204)


def _locked(view: Any, tags: list[str]) -> Any:
    """The object, in sight and allowed before it is locked; ChangedMeanwhile where its version is none of `tags`."""
    seen = view.get_object()
    locked = type(seen)._default_manager.select_for_update().filter(pk=seen.pk).first()
    if locked is None:  # gone since
        raise Http404
    _, etag = view.represent(locked)
    if etag not in tags and "*" not in tags:
        raise ChangedMeanwhile("It was changed since you read it. Read it again, then decide.")
    return locked


def _tags(request: Request, header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in request.headers.get(header, "").split(",") if tag.strip()]


def wait_for(request: Request, *jobs: Job) -> bool:
    """Honour `?wait=seconds`: whether all jobs have ended within them. At most two requests wait at a time."""
    asked = request.query_params.get("wait", "0")
    if not asked.isascii() or not asked.isdigit() or int(asked[:5]) > MAX_WAIT:
        raise ValidationError({"wait": f"must be whole seconds from 0 to {MAX_WAIT}."})
    until = time.monotonic() + int(asked)
    if int(asked) and _waiters.acquire(blocking=False):
        try:
            while (left := [job for job in jobs if not job.is_finished]) and time.monotonic() < until:
                time.sleep(POLL)
                for job in left:
                    job.refresh_from_db()
        finally:
            _waiters.release()
    return all(job.is_finished for job in jobs)


def accepted(done: bool, address: str, data: Any) -> Response:
    """202 with the row that stands for the work, or 200 once it is done."""
    return Response(data, status=200 if done else 202, headers={"Location": address})
