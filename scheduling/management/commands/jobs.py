"""``manage.py jobs``: look at jobs, pause, resume and run them."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import localtime

from scheduling import calendar_use, calendars, job_groups, jobs
from scheduling.calendar_moves import Move
from scheduling.clock import database_now
from scheduling.kept.documents import Job
from scheduling.recurrence import ImpossibleSchedule
from scheduling.rule_documents import moment_of

FIRES_SHOWN = 10
DAYS_SHOWN = 366
BACKFILL = ("name", "since", "until", "pace", "dry_run")


class Command(BaseCommand):
    """Shows jobs, whichever backend keeps them, and orders what an operator may."""

    help = "List and show jobs and calendars, say when jobs fire next; pause, resume and run them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read the verb, and whom it is about."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        listed = verbs.add_parser("list", help="each job on a line")
        listed.add_argument("--group", default="", help="only the jobs of this group")
        for verb, text in (("show", "a job and its last fires"), ("next", "when it fires next")):
            command = verbs.add_parser(verb, help=text)
            command.add_argument("name")
            command.add_argument("--count", type=int, default=FIRES_SHOWN)
        filled = verbs.add_parser("backfill", help="run a job for past times that have no fire")
        filled.add_argument("name")
        filled.add_argument("--since", required=True, help="like 2026-03-01T00:00+01:00")
        filled.add_argument("--until", required=True, help="the first moment after the range")
        filled.add_argument("--pace", type=float, default=0.0, help="seconds between two runs")
        filled.add_argument("--dry-run", action="store_true", help="only print what would run")
        calendar = verbs.add_parser("calendars", help="each calendar, its holidays and who uses it")
        calendar.add_argument("name", nargs="?", default="")
        compared = verbs.add_parser(
            "preview-calendar", help="which fires would move if a file replaced a calendar"
        )
        compared.add_argument("name", help="of the calendar, without .ics")
        compared.add_argument("file", type=Path, help="the new file, which is only read")
        for command in (calendar, compared):
            command.add_argument("--days", type=int, default=DAYS_SHOWN, help="from today on")
        for verb in _ORDERS:
            several = verbs.add_parser(verb, help=f"{verb} jobs, by name or by group")
            several.add_argument("names", nargs="*", metavar="name")
            several.add_argument("--group", default="", help="all jobs of this group")

    def handle(self, *_: Any, verb: str, **options: Any) -> None:
        """Do what the verb says. Raises ``CommandError`` for a job that is not there."""
        try:
            if verb == "list":
                self._list(job_groups.members(options["group"]))
            elif verb in _ORDERS:
                self._order(verb, options["names"], options["group"])
            elif verb == "backfill":
                self._backfill(**{name: options[name] for name in BACKFILL})
            elif verb == "calendars":
                self._calendars(options["name"], _days(options["days"]))
            elif verb == "preview-calendar":
                self._preview(options["name"], options["file"], _days(options["days"]))
            elif verb == "next":
                self._next(options["name"], options["count"])
            else:
                self._show(jobs.get(options["name"]), options["count"])
        except jobs.InvalidJob as error:
            raise CommandError(f"{error.field}: {error}") from None
        except jobs.UnknownJob as error:
            raise CommandError(str(error)) from None
        except ImpossibleSchedule as error:
            raise CommandError(str(error)) from None

    def _list(self, shown_jobs: Iterable[Job]) -> None:
        for job in shown_jobs:
            self.stdout.write(f"{job.name}  {_state(job)}  {_rule(job)}  {_when(job.next_fire_at)}")

    def _show(self, job: Job, count: int) -> None:
        for key, value in job.definition.items():
            self.stdout.write(f"{key}: {value}")
        self.stdout.write(f"state: {_state(job)} {job.quarantine_reason}".rstrip())
        self.stdout.write(
            f"last run by its rule: {_when(job.last_run_at)}, runs by its rule: "
            f"{job.total_run_count}"
        )
        for fire in jobs.fires(job.name, count):
            line = f"{_when(fire.scheduled_for)}  {fire.status}  {fire.worker}  {fire.error}"
            self.stdout.write(f"  {line.rstrip()}")

    def _next(self, name: str, count: int) -> None:
        for moment in jobs.next_fires(name, count):
            self.stdout.write(_when(moment))

    def _backfill(self, name: str, since: str, until: str, pace: float, dry_run: bool) -> None:  # noqa: FBT001 -- by name
        begin, end = (
            moment_of(text, field=field) for field, text in (("since", since), ("until", until))
        )
        runs = jobs.backfill(name, begin, end, pace=timedelta(seconds=pace), dry_run=dry_run)
        for due, at in runs:
            self.stdout.write(f"{_when(due)}  runs at {_when(at)}")
        self.stdout.write(f"{len(runs)} {'would run' if dry_run else 'will run'}")

    def _calendars(self, name: str, days: int) -> None:
        if not (names := [name] if name else list(calendars.stamps())):
            self.stdout.write("There is no calendar in the folder SCHEDULING_CALENDARS.")
        for difference in names:
            self.stdout.write(f"{difference}:")
            self._holidays(difference, days, is_alone=bool(name))
            for user in calendar_use.users_of(difference).read:
                fires = ", ".join(_when(fire, user.zone) for fire in user.next_fires) or "-"
                state = "" if user.is_enabled else " (paused)"
                self.stdout.write(f"  used by {user.name}{state}, next: {user.fault or fires}")

    def _holidays(self, name: str, days: int, *, is_alone: bool) -> None:
        """List a calendar's holidays; one that cannot be read stops no other."""
        try:
            holidays = calendars.read(name).holidays(localtime(database_now()).date(), days)
        except ImpossibleSchedule as error:
            if is_alone:
                raise
            self.stdout.write(f"  {error}")
        else:
            for day, holiday in holidays:
                self.stdout.write(f"  {day}  {holiday}")

    def _preview(self, name: str, file: Path, days: int) -> None:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
        try:
            calendar = calendars.parse(name, content)
        except ImpossibleSchedule as error:
            raise CommandError(f"{file} cannot replace a calendar. {error}") from None
        if calendar.is_empty:
            self.stdout.write("The file has no event that takes place: no day is a holiday.")
        users = calendar_use.users_of(name).read
        if not users:
            self.stdout.write(f"No schedule goes by the calendar {name!r}.")
        for user, moved in calendar_use.moves(users, name, calendar, days):
            for move in moved:
                self.stdout.write(f"{user.name}: {_move_text(move, user.zone)}")
            users.remove(user)
        for user in users:
            reason = "" if user.is_enabled else " (it is paused)"
            self.stdout.write(f"{user.name}: {user.fault or f'nothing moves{reason}'}")

    def _order(self, verb: str, names: list[str], group: str) -> None:
        chosen = [*names, *(job.name for job in job_groups.members(group) if group)]
        if not chosen:
            raise CommandError("Name a job, or a --group that has one.")
        for name in chosen:
            jobs.get(name)
        for name in chosen:
            result = _ORDERS[verb](name)
            self.stdout.write(f"{name}: {verb}" + (f" {result}" if result else ""))


def _state(job: Job) -> str:
    if job.quarantined_at is not None:
        return "quarantined"
    return "active" if job.enabled else "paused"


def _rule(job: Job) -> str:
    return " ".join(str(value) for value in job.rule.values())


def _when(moment: datetime | None, zone: ZoneInfo | None = None) -> str:
    return "-" if moment is None else f"{localtime(moment, zone):%Y-%m-%d %H:%M:%S %Z}"


def _move_text(move: Move, zone: ZoneInfo) -> str:
    if move.before is None:
        return f"new on {_when(move.after, zone)}"
    if move.after is None:
        return f"no longer on {_when(move.before, zone)}"
    return f"moves from {_when(move.before, zone)} to {_when(move.after, zone)}"


def _days(days: int) -> int:
    if not 1 <= days <= DAYS_SHOWN * 5:
        raise CommandError(f"--days must be from 1 to {DAYS_SHOWN * 5}.")
    return days


_ORDERS: dict[str, Callable[[str], Any]] = {
    "pause": jobs.pause,
    "resume": jobs.resume,
    "run": jobs.run_now,
}
