#!/usr/bin/env python
"""Django's entry point. `up` goes to the supervisor, which stays small by never loading Django."""

import os
import sys


def main() -> None:
    if sys.argv[1:2] == ["up"]:
        from opssight.up import main as up

        sys.exit(up(sys.argv[2:]))

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opssight.settings.prod")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
