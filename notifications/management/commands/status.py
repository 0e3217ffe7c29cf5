"""The system on one screen."""

import json
import time
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from notifications.monitoring import overview, throughput
from notifications.monitoring.overview import Overview, Trouble

REFRESH = 2.0  # seconds
SHOWN_MINUTES = 15
PIPE_WIDTH = 160  # columns, where there is no terminal to ask
UNKNOWN = "unknown, their rows are locked"
_BARS = " ▁▂▃▄▅▆▇█"


class Command(BaseCommand):
    """``manage.py status``: live on a terminal, once into a pipe."""

    help = "Show queues, providers, schedulers and problems on one screen. Ctrl-C ends it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read how it is shown."""
        parser.add_argument("--once", action="store_true", help="Show it once and end.")
        parser.add_argument("--json", action="store_true", help="Print it once, as JSON.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Show it. Raises ``CommandError`` when the database does not answer."""
        try:
            self._show(options)
        except Error as error:
            raise CommandError(
                f"The database does not answer ({type(error).__name__}): "
                "manage.py doctor tells more."
            ) from error
        except KeyboardInterrupt:
            return

    def _show(self, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(asdict(overview.read()), default=str, indent=2))
            return
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = PIPE_WIDTH
        if options["once"] or not console.is_terminal:
            console.print(screen(overview.read(), throughput.last(SHOWN_MINUTES)))
            return
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                shown = screen(overview.read(), throughput.last(SHOWN_MINUTES))
                live.update(shown, refresh=True)
                time.sleep(REFRESH)


def screen(now: Overview, minutes: list[throughput.Counts]) -> Group:
    """Lay the overview out."""
    troubles = now.dated_troubles
    head = Text(f"{now.at:%Y-%m-%d %H:%M:%S} UTC   ", style="bold")
    head.append("all is well" if not troubles else f"{len(troubles)} to look at")
    lines = [Text(f"! {trouble.text}{_since(trouble)}", style="red") for trouble in troubles]
    return Group(head, *lines, "", _flow(minutes), "", _queues(now), "", _rest(now))


def _since(trouble: Trouble) -> str:
    return f" Since {trouble.since:%Y-%m-%d %H:%M} UTC." if trouble.since else ""


def _flow(minutes: list[throughput.Counts]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name in ("accepted", "sent", "failed"):
        counts = [sum(getattr(minute, name).values()) for minute in minutes]
        table.add_row(name, sparkline(counts), f"{sum(counts)} in {len(minutes)} min")
    return table


def _queues(now: Overview) -> Table:
    names = (
        *("queue", "due", "retrying", "blocked", "oldest"),
        *("on\nbroker", "busy\nslots", "share\nof slots"),
    )
    table = Table(box=None, padding=(0, 1))
    for name in names:
        table.add_column(name, no_wrap=True)
    busy = [queue for queue in now.queues if not queue.is_idle]
    for queue in busy:
        share = queue.allocation.share
        shown = "unknown" if share is None else f"{share:.0%}"
        due = f"{queue.due} ({queue.held} held)" if queue.held else queue.due
        waits = (due, queue.retrying, queue.blocked, f"{queue.oldest:.1f} s")
        numbers = (*waits, queue.on_broker, queue.busy, shown)
        table.add_row(queue.name, *map(str, numbers))
    if not busy:
        table.add_row("all idle", "0", "0", "0", "", "0", "0", "")
    return table


def _rest(now: Overview) -> Table:
    scheduler = now.scheduler
    table = Table.grid(padding=(0, 2))
    table.add_row("failed deliveries", f"{now.open_letters} open")
    late = "" if scheduler.lateness_p99 is None else f", p99 {scheduler.lateness_p99:.3f} s late"
    fired = sum(scheduler.fires_by_status.values())
    slots = sum(worker.slots for worker in now.workers)
    workers = UNKNOWN if now.are_workers_unknown else f"{len(now.workers)} alive, {slots} slots"
    table.add_row("workers", workers)
    live = f"{scheduler.live_schedulers} alive"
    schedulers = UNKNOWN if scheduler.are_schedulers_unknown else live
    table.add_row("schedulers", f"{schedulers}, {fired} fires in 5 min{late}")
    runs = f"{scheduler.failed_runs} failed and open, {scheduler.running} under way"
    table.add_row("runs of schedules", runs)
    for provider in now.providers:
        seen = f"{provider.good} good, {provider.bad} bad, {provider.pace * 1000:.0f} ms"
        error = f", the last error: {provider.last_error}" if provider.last_error else ""
        table.add_row(f"{provider.channel}: {provider.name}", f"{provider.state} ({seen}{error})")
    return table


def sparkline(counts: list[int]) -> str:
    """Draw counts as a line of bars, scaled to the highest."""
    top = max(counts, default=0) or 1
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // top)] for count in counts)
