"""Flower starts only where not everybody may use it.

Whoever reaches Flower can look at all tasks, end them and call new ones. It wants a login, unless
it listens on loopback alone, and nobody asks for this system by a name.
"""

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from django.conf import settings

from config import listening

LOOPBACK = ("127.0.0.1", "::1", "localhost")
# What Flower reads from a variable, beside texts.
KINDS = {int: "a whole number", float: "a number", bool: "1 or 0"}


def install() -> None:
    """Look at Flower's options as soon as they are read, if this process is Flower."""
    if "flower" not in sys.argv[1:]:
        return
    from flower.options import options  # noqa: PLC0415 -- no other process has it

    if said := variable_problem(options, os.environ):
        raise SystemExit(said)
    read = iter(range(1, 100))

    def look() -> None:
        has_file = Path(options.conf).is_file()
        if next(read) == 1 and has_file:
            return  # the file is read next, and then the command line once more
        options.address = options.address or LOOPBACK[0]
        if said := problem(options, in_production=settings.IN_PRODUCTION):
            raise SystemExit(f"config.E010: {said}")
        if not options.unix_socket and (said := listening.problem(options.address, options.port)):
            raise SystemExit(f"Flower {said}. Set FLOWER_ADDRESS or FLOWER_PORT.")

    options.add_parse_callback(look)


def variable_problem(options: Any, environ: MutableMapping[str, str]) -> str:
    """Return which variable Flower cannot read, where it would show its stack; empty if none.

    Takes those that are empty, and are not texts, out of ``environ``: they are not set.
    """
    from flower.utils import strtobool  # noqa: PLC0415 -- as above

    for option in options._options.values():  # noqa: SLF001 -- what Flower itself reads
        name = f"FLOWER_{option.name.upper().replace('-', '_')}"
        if option.type is str or (text := environ.get(name)) is None:
            continue
        if not text.strip():
            del environ[name]
            continue
        if option.type not in KINDS:
            return f"{name} cannot be set by a variable. Set it in the file that FLOWER_CONF names."
        read = strtobool if option.type is bool else option.type
        try:
            for part in text.split(",") if option.multiple else [text]:
                read(part)
        except ValueError:
            return f"{name} is {text!r}. It must be {KINDS[option.type]}."
    return ""


def problem(options: Any, *, in_production: bool) -> str:
    """Return why Flower would be open to everybody; empty if it is not.

    ``options`` are Flower's, from its variables, its command line and its file.
    """
    if any(not _is_login(login) for login in options.basic_auth or ()):
        return (
            "FLOWER_BASIC_AUTH is not of the form user:password, or user:password,other:password."
        )
    # An OAuth handler without the addresses that may log in (FLOWER_AUTH) lets everybody in.
    if options.basic_auth or options.auth:
        return ""
    only_here = options.unix_socket or options.address in LOOPBACK
    if only_here and not in_production:
        return ""
    return (
        "Flower would be open to everybody. Set FLOWER_BASIC_AUTH=user:password, or FLOWER_AUTH "
        "(who may log in) with FLOWER_AUTH_PROVIDER."
    )


def _is_login(text: str) -> bool:
    user, _, password = text.partition(":")
    return bool(user and password)
