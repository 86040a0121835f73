import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator

from opssight.api import DESCRIPTION


class Command(BaseCommand):
    help = "Write the OpenAPI description that the API serves. Fails on any warning of the generator."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="only compare with what is checked in")

    def handle(self, *args: Any, **options: Any) -> None:
        fresh = describe()
        if GENERATOR_STATS:
            GENERATOR_STATS.emit_summary()
            raise SystemExit(1)
        if options["check"] and DESCRIPTION.read_text() != fresh:
            self.stderr.write("opssight/openapi.json is not what the code says; run: make openapi")
            raise SystemExit(1)
        if not options["check"]:
            DESCRIPTION.write_text(fresh)


def describe() -> str:
    GENERATOR_STATS.reset()
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
