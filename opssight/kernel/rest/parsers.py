import json
from collections.abc import Callable, Mapping
from typing import IO, Any

from django.conf import settings
from django.http import UnreadablePostError
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser, MultiPartParser

MAX_DIGITS = 40
ROOM = 100_000  # bytes of a form around its file


class TooLarge(APIException):
    status_code = 413


def is_longer(meta: Mapping[str, Any], most: int) -> bool:
    """Whether a form with a file of more than `most` bytes is on its way: by what its sender says, of which Django
    reads no more. Asked before the body is read, which fills a disk."""
    return int(meta.get("CONTENT_LENGTH") or 0) > most + ROOM


def file_parser(most: Callable[[], int]) -> type[MultiPartParser]:
    """A parser of forms with a file of at most `most()` bytes; 413 for a longer one, which is not read."""

    class FileParser(MultiPartParser):
        def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
            if is_longer(parser_context["request"].META, most()):
                raise TooLarge(f"The file has more than {most() // 1_000_000} MB.")
            return super().parse(stream, media_type, parser_context)

    return FileParser


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
