#!/usr/bin/env python3
"""Django's command line, with this project's settings."""

import os
import sys


def main() -> None:
    """Run a command of Django's."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from config import command_line  # noqa: PLC0415 -- needs the settings

    command_line.run(sys.argv)


if __name__ == "__main__":
    main()
