"""``manage.py jobs``: look at jobs, pause, resume and run them."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import localtime

from scheduling import job_groups, jobs
from scheduling.kept.documents import Job
from scheduling.rule_documents import moment_of

FIRES_SHOWN = 10
BACKFILL = ("name", "since", "until", "pace", "dry_run")


class Command(BaseCommand):
    """Shows jobs, whichever backend keeps them, and orders what an operator may."""

    help = "List and show jobs, say when they fire next; pause, resume and run them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read the verb, and whom it is about."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        listed = verbs.add_parser("list", help="each job on a line")
        listed.add_argument("--group", default="", help="only the jobs of this group")
        for verb, text in (("show", "a job and its last fires"), ("next", "when it fires next")):
            one = verbs.add_parser(verb, help=text)
            one.add_argument("name")
            one.add_argument("--count", type=int, default=FIRES_SHOWN)
        filled = verbs.add_parser("backfill", help="run a job for past times that have no fire")
        filled.add_argument("name")
        filled.add_argument("--since", required=True, help="like 2026-03-01T00:00+01:00")
        filled.add_argument("--until", required=True, help="the first moment after the range")
        filled.add_argument("--pace", type=float, default=0.0, help="seconds between two runs")
        filled.add_argument("--dry-run", action="store_true", help="only print what would run")
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
            elif verb == "next":
                self._next(options["name"], options["count"])
            else:
                self._show(jobs.get(options["name"]), options["count"])
        except jobs.InvalidJob as error:
            raise CommandError(f"{error.field}: {error}") from None
        except jobs.UnknownJob as error:
            raise CommandError(str(error)) from None

    def _list(self, found: Iterable[Job]) -> None:
        for job in found:
            self.stdout.write(f"{job.name}  {_state(job)}  {_rule(job)}  {_when(job.next_fire_at)}")

    def _show(self, job: Job, count: int) -> None:
        for key, value in job.definition.items():
            self.stdout.write(f"{key}: {value}")
        self.stdout.write(f"state: {_state(job)} {job.quarantine_reason}".rstrip())
        self.stdout.write(f"last run: {_when(job.last_run_at)}, runs so far: {job.total_run_count}")
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


def _when(moment: datetime | None) -> str:
    return "-" if moment is None else f"{localtime(moment):%Y-%m-%d %H:%M:%S %Z}"


_ORDERS: dict[str, Callable[[str], Any]] = {
    "pause": jobs.pause,
    "resume": jobs.resume,
    "run": jobs.run_now,
}
