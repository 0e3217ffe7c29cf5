#!/usr/bin/env python3
"""Django's command line, with this project's settings."""

import os
import sys


def main() -> None:
    """Run a command of Django's."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 -- needs the settings

    execute_from_command_line(sys.argv)
    if sys.argv[1:]:
        from config.audit import commands  # noqa: PLC0415 -- as above

        commands.note(sys.argv[1:])


if __name__ == "__main__":
    main()
