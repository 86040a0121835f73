"""Many at once: each item by itself, with its own answer."""

from collections.abc import Callable
from typing import Any

from django.db import models, transaction
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from opssight.kernel.access import record_denial
from opssight.kernel.refusals import record_api_refusal
from opssight.kernel.rest.problems import described
from opssight.kernel.rest.serializers import StrictSerializer

MOST = 100


class BulkRequest(StrictSerializer):
    items = serializers.ListField(child=serializers.JSONField(), min_length=1, max_length=MOST)
    dry_run = serializers.BooleanField(default=False)


class BulkItem(serializers.Serializer[Any]):
    index = serializers.IntegerField()
    ok = serializers.BooleanField()
    uid = serializers.UUIDField(allow_null=True)
    status = serializers.IntegerField(help_text="The status this item alone would have had.")
    detail = serializers.CharField(allow_blank=True)
    errors = serializers.DictField(required=False)  # type: ignore[assignment]


class BulkAnswer(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    done = serializers.IntegerField()
    failed = serializers.IntegerField()
    results = BulkItem(many=True)


class _Undo(Exception):
    pass


def each(request: Request, act: Callable[..., models.Model]) -> Response:
    """Run `act(item, request, dry_run=…)` for each item in a transaction of its own; a dry run undoes every one."""
    asked = BulkRequest(data=request.data)
    asked.is_valid(raise_exception=True)
    dry_run: bool = asked.validated_data["dry_run"]
    results = [_one(index, item, request, act, dry_run) for index, item in enumerate(asked.validated_data["items"])]
    done = sum(result["ok"] for result in results)
    return Response({"dry_run": dry_run, "done": done, "failed": len(results) - done, "results": results})


def _one(index: int, item: Any, request: Request, act: Callable[..., models.Model], dry_run: bool) -> dict[str, Any]:
    made: Any = None
    try:
        with transaction.atomic():
            if not isinstance(item, dict):
                raise ValidationError({"item": "must be an object."})
            made = act(item, request, dry_run=dry_run)
            if dry_run:
                raise _Undo
    except _Undo:
        return {"index": index, "ok": True, "uid": None, "status": 201, "detail": ""}
    except Exception as error:
        status, detail, more = described(error)  # raises what is nobody's fault but ours
        record_denial(error)
        if not dry_run:
            record_api_refusal(request, request.parser_context.get("view"), status, error, more.get("errors", ()))
        return {"index": index, "ok": False, "uid": None, "status": status, "detail": detail, **more}
    return {"index": index, "ok": True, "uid": str(made.uid), "status": 201, "detail": ""}
