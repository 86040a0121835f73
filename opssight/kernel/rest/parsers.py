import json
from typing import IO, Any

from django.conf import settings
from django.http import UnreadablePostError
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

MAX_DIGITS = 40


class TooLarge(APIException):
    status_code = 413


class StrictJSONParser(BaseParser):
    """RFC 8259 JSON in UTF-8. Duplicate names, NaN, endless numbers and nesting are refused rather than guessed at."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        try:
            body = stream.read(limit + 1)
            if len(body) > limit:
                raise TooLarge(f"The body has more than {limit} bytes.")
            return json.loads(
                body.decode("utf-8"),
                object_pairs_hook=_distinct,
                parse_constant=_refuse_constant,
                parse_int=_bounded_int,
            )
        except UnicodeDecodeError as error:
            raise ParseError(f"The body is not UTF-8 at byte {error.start}.") from None
        except RecursionError:
            raise ParseError("The body is nested too deeply.") from None
        except json.JSONDecodeError as error:
            raise ParseError(f"The body is not JSON: {error.msg}, line {error.lineno} column {error.colno}.") from None
        except ValueError as error:
            raise ParseError(str(error)) from None
        except UnreadablePostError:
            raise ParseError("The body ended early.") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"The name {name[:80]!r} comes twice in one object.")
        found[name] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON.")


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"A number has more than {MAX_DIGITS} digits.")
    return int(digits)
