"""The API's description for people, from the file that machines read."""

import json
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from opssight.api import DESCRIPTION
from opssight.kernel.guards import guarded
from scanning.client.views import client_digest

METHODS = ("get", "post", "patch", "put", "delete")


@dataclass(frozen=True)
class Operation:
    tag: str
    method: str
    path: str
    text: str
    permission: str
    parameters: list[dict[str, Any]]
    body: list[dict[str, Any]]
    answers: list[tuple[str, list[dict[str, Any]]]]


@guarded("me:read")
def guide(request: HttpRequest) -> HttpResponse:
    """Every operation with its permission, parameters and fields, and how to call the API at all."""
    groups = [(tag, list(items)) for tag, items in groupby(_operations(), key=lambda operation: operation.tag)]
    return render(request, "console/api_guide.html", {"groups": groups, "client_digest": client_digest()})


@cache
def _operations() -> list[Operation]:
    """Read once: the file changes only with the program."""
    spec = json.loads(DESCRIPTION.read_text())
    found = [
        _operation(spec, path, method, item[method])
        for path, item in spec["paths"].items()
        for method in METHODS
        if method in item
    ]
    return sorted(found, key=lambda operation: (operation.tag, operation.path, METHODS.index(operation.method.lower())))


def _operation(spec: dict[str, Any], path: str, method: str, told: dict[str, Any]) -> Operation:
    text, _, permission = told.get("description", "").partition("Asks for `")
    body = told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    answers = [
        (code, _fields(spec, answer.get("content", {}).get("application/json", {}).get("schema")))
        for code, answer in told["responses"].items()
        if code != "default"
    ]
    return Operation(
        tag=told["tags"][0],
        method=method.upper(),
        path=path,
        text=text.strip(),
        permission=permission.rstrip("`."),
        parameters=[{**p, "type": _type(spec, p["schema"])} for p in told.get("parameters", [])],
        body=_fields(spec, body),
        answers=answers,
    )


def _resolved(spec: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "allOf" in schema and len(schema["allOf"]) == 1:
        schema = {**schema["allOf"][0], **{key: value for key, value in schema.items() if key != "allOf"}}
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = {**spec["components"]["schemas"][name], **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def _fields(spec: dict[str, Any], schema: dict[str, Any] | None) -> list[dict[str, Any]]:
    if schema is None:
        return []
    schema = _resolved(spec, schema)
    if "results" in schema.get("properties", {}):  # a page: what its rows hold is what matters
        schema = _resolved(spec, schema["properties"]["results"]["items"])
    required = set(schema.get("required", ()))
    return [
        {
            "name": name,
            "type": _type(spec, field),
            "required": name in required,
            "text": _resolved(spec, field).get("description", "").partition("\n\n* ")[0],
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _type(spec: dict[str, Any], schema: dict[str, Any]) -> str:
    schema = _resolved(spec, schema)
    if values := schema.get("enum"):
        return " | ".join(str(value) for value in values)
    if "oneOf" in schema or "anyOf" in schema:
        return " | ".join(_type(spec, each) for each in schema.get("oneOf", schema.get("anyOf", [])))
    kind = schema.get("type", "any")
    name = " | ".join(kind) if isinstance(kind, list) else str(kind)
    if name == "array":
        return f"list of {_type(spec, schema.get('items', {}))}"
    return f"{name} ({schema['format']})" if "format" in schema else name
