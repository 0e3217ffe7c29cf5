"""After a database was restored: end what the lost one has done already."""

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.db import clock
from notifications.management import progress
from notifications.operations import after_restore
from scheduling.job_schema import InvalidJob
from scheduling.rule_documents import moment_of


class Command(BaseCommand):
    """``manage.py after_restore --stopped-at MOMENT``, before any process runs on the database."""

    help = (
        "End what was due or under way until the old system stopped: waiting notifications, "
        "batches to audiences and replays are cancelled, and schedules go on with their first due "
        "time after it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Read the moment."""
        parser.add_argument(
            "--stopped-at",
            required=True,
            metavar="MOMENT",
            help="When the old system stopped, like 2026-03-01T12:00:00+00:00.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only print how many.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Print how many of each. Raises ``CommandError`` if the moment cannot be read."""
        moment = _moment(options["stopped_at"])
        found = after_restore.count(moment)
        if options["dry_run"]:
            self.stdout.write(f"Would cancel {_told(found)}.")
            return
        with progress.shown_on(self.stderr, total=found.notifications) as report:
            ended = after_restore.end(moment, report)
        self.stdout.write(f"Cancelled {_told(ended)}.")


def _told(found: after_restore.Open) -> str:
    return (
        f"{found.notifications} notifications, {found.runs} runs of jobs, {found.batches} batches "
        f"to audiences and {found.replays} replays; due times of {found.schedules} schedules are "
        "passed over"
    )


def _moment(text: str) -> datetime:
    try:
        moment = moment_of(text, field="--stopped-at")
    except InvalidJob as error:
        raise CommandError(f"{error.field}: {error}") from None
    if moment > clock.now():
        raise CommandError(f"--stopped-at: {text!r} is not past.")
    return moment
