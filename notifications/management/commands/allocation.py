"""Who has the workers' slots, and who shall have them."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from notifications.core.conf import conf
from notifications.monitoring import overview
from notifications.queueing import allocation
from notifications.queueing.allocation import Allocation

_COLUMNS = ("queue", "weight", "share", "service", "due", "oldest", "broker", "busy")


class Command(BaseCommand):
    """``manage.py allocation``."""

    help = "Show how the workers' slots are shared among the queues, or change a queue's weight."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read what is to be changed, and how it is shown."""
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="QUEUE=WEIGHT",
            help="Set a queue's weight, like email.low=3; workers use it within 2 s.",
        )
        parser.add_argument(
            "--clear",
            action="append",
            default=[],
            metavar="QUEUE",
            help="Reset a queue's weight to that of its priority.",
        )
        parser.add_argument("--all", action="store_true", help="Show idle queues too.")
        parser.add_argument("--json", action="store_true", help="Print every queue, as JSON.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Change what is to be changed, then show it. Raises ``CommandError``."""
        for change in options["set"]:
            _override(change)
        for queue in options["clear"]:
            if not allocation.let_go(queue):
                raise CommandError(f"The queue {queue!r} has no weight set by an operator.")
        if options["json"]:
            every = {queue: asdict(allocated) for queue, allocated in allocation.read().items()}
            self.stdout.write(json.dumps({"on": allocation.is_on(), "queues": every}, indent=2))
            return
        _show(overview.read(), allocation.read(), every=options["all"])


def _override(change: str) -> None:
    queue, _, weight = change.partition("=")
    try:
        allocation.override(queue, float(weight))
    except ValidationError as error:
        raise CommandError(f"{change}: {' '.join(error.messages)}") from None
    except ValueError:
        raise CommandError(f"{change}: write it like email.low=3.") from None


def _show(now: overview.Overview, allocated: Mapping[str, Allocation], *, every: bool) -> None:
    queues = {queue.name: queue for queue in now.queues}
    table = Table(*_COLUMNS, box=None)
    for name, current in sorted(allocated.items(), key=lambda item: -(item[1].share or 0)):
        queue = queues.get(name)
        has_own = current.source is not allocation.Source.SETTINGS
        if every or current.share or has_own or (queue and not queue.is_idle):
            table.add_row(
                *(name, _weight(current), *_had(current)),
                *(_work(queue) if queue else ()),
            )
    console = Console(highlight=False)
    console.print(table if table.row_count else "Every queue is idle.")
    console.print(_rules())


def _weight(allocated: Allocation) -> str:
    if allocated.source is allocation.Source.SETTINGS:
        return f"{allocated.weight:g}"
    return f"{allocated.weight:g} ({allocated.source})"


def _had(allocated: Allocation) -> tuple[str, str]:
    if allocated.share is None or allocated.service_time is None:
        return "unknown", "unknown"
    return f"{allocated.share:.1%}", f"{allocated.service_time * 1000:.0f} ms"


def _work(queue: overview.Queue) -> tuple[str, ...]:
    return (str(queue.due), f"{queue.oldest:.1f} s", str(queue.on_broker), str(queue.busy))


def _rules() -> str:
    released = (
        f"Per queue at most {conf.queue_window} messages of new notifications and "
        f"{conf.released_messages} for due rows are released to the broker."
    )
    if not allocation.is_on():
        return f"Weights are off: queues get a message in turn. {released}"
    return (
        "Share: of the slot time of all workers in the last minute. Service: how long a message "
        f"held its slot. {released}"
    )
