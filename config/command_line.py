"""A command of Django's: an outage is one line, and what changed something is in the audit log."""

import sys
from collections.abc import Sequence

from django.core.management import execute_from_command_line
from django.db.utils import OperationalError

from scheduling import outages


def run(argv: Sequence[str]) -> None:
    """Run a command; ``argv`` begins with the program's name, as ``sys.argv`` does.

    Raises SystemExit with a line on a server that cannot do its work now, unless ``--traceback``
    is among the arguments.
    """
    try:
        execute_from_command_line(list(argv))
    except Exception as error:
        problem = _problem(error)
        if not problem or "--traceback" in argv:
            raise
        sys.exit(f"{argv[1]}: {problem}")
    if argv[1:]:
        from config.audit import commands  # noqa: PLC0415 -- its models need Django's setup

        commands.note(argv[1:])


NOT_MIGRATED = "The database has not all tables of this code. Run the command migrate first."


def _problem(error: Exception) -> str:
    """Say which server cannot do its work, and why; empty for any other error."""
    if isinstance(error, OperationalError) and "no such table" in str(error):  # SQLite
        return NOT_MIGRATED
    outage = outages.of(error)
    if outage is None:
        return ""
    if outage.code in outages.NOT_MIGRATED:
        return NOT_MIGRATED
    # Of a connection that failed, whose text holds nothing of a statement.
    reason = (
        " ".join(str(error).split()) if outage.code == OperationalError.__name__ else outage.code
    )
    return f"The {outage.server} cannot do this now: {outage.reason} ({reason})."
