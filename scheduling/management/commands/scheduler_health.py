"""``manage.py scheduler_health``: whether this host's schedulers tick, for probes."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from scheduling import liveness


class Command(BaseCommand):
    """``manage.py scheduler_health``, for a container's health check."""

    help = "Exits with 1 unless this host has a scheduler and all of its schedulers tick."
    # The database may be away: the command's answer is then that one, and not a traceback.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--seconds",
            type=float,
            default=liveness.HUNG.total_seconds(),
            help="for how long a scheduler may make no progress (default: %(default)g)",
        )

    def handle(self, *_: Any, seconds: float, **__: Any) -> None:
        try:
            problem = liveness.problem_of_host(timedelta(seconds=seconds))
        except Error as error:
            raise CommandError(f"The database does not answer: {type(error).__name__}.") from None
        if problem:
            raise CommandError(problem)
        self.stdout.write("The schedulers of this host tick.")
