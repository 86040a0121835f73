#!/usr/bin/env python
"""Django's entry point. `up` goes to the supervisor, which stays small by never loading Django."""

import os
import sys


def main() -> None:
    if sys.argv[1:2] == ["up"]:
        from opssight.up import main as up

        sys.exit(up(sys.argv[2:]))

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opssight.settings.prod")
    from opssight.kernel.commands import run

    run(sys.argv)


if __name__ == "__main__":
    main()
