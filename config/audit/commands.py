"""Writes what was done by ``manage.py`` to the audit log."""

import getpass
import sys
from collections.abc import Sequence

from django.db import DatabaseError

from config.audit import acts, log
from config.audit.log import Kind, Who


def note(argv: Sequence[str]) -> None:
    """Write a command that has ended well, unless it changes and reveals nothing.

    Says so on stderr where the database takes no entry, as before the first ``migrate``.

    ``argv`` is the command's name with its arguments. Of most commands only the options' names
    are written: what they are given may be somebody's address or a content.
    """
    name, *arguments = argv
    if name in acts.UNWRITTEN_COMMANDS or {"--help", "-h", "--version"} & {*arguments}:
        return
    shown = name in acts.SHOWN_ARGUMENTS
    named = [
        argument if shown else argument.partition("=")[0]
        for argument in arguments
        if shown or argument[:1] == "-"
    ]
    try:
        log.record(Who(Kind.COMMAND, _user()), name, detail=" ".join(named))
    except DatabaseError as error:  # the command is done: a failure here must not deny it
        sys.stderr.write(f"The audit log has no entry of this command: {type(error).__name__}.\n")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an id without a name, as in a container
        return ""
