"""What a process is for, by its command: it need not load what only others use."""

import sys
from pathlib import Path

BACKGROUND = frozenset({"worker", "beat"})  # commands of Celery's that answer no browser


def shows_pages(command: list[str] | None = None) -> bool:
    """Return whether a process of this command, by default this one's, may show pages."""
    program, *arguments = command or sys.argv or [""]
    path = Path(program)
    is_celery = path.stem == "celery" or path.parts[-2:] == ("celery", "__main__.py")
    return not (is_celery and BACKGROUND.intersection(arguments))
