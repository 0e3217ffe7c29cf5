"""Who has the workers' slots today."""

from typing import Any

from django.core.management.base import BaseCommand
from rich.console import Console
from rich.table import Table

from notifications import conf, overview
from notifications.fair_order import default_weights
from notifications.models import QueueWeight


class Command(BaseCommand):
    """``manage.py allocation``."""

    help = "Show how the workers' slots are shared among the queues now."

    def handle(self, *_: Any, **__: Any) -> None:
        """Print a line per queue that has work, and the windows that share the slots out."""
        now = overview.read()
        weights = default_weights(conf.get("WEIGHTS")) | dict(
            QueueWeight.objects.values_list("queue", "weight")
        )
        busy = sum(queue.busy for queue in now.queues)
        table = Table(
            *("queue", "weight", "busy slots", "share", "due", "oldest", "on broker"), box=None
        )
        for queue in sorted(now.queues, key=lambda q: (-q.busy, -q.due)):
            if not queue.is_idle:
                share = f"{queue.busy / busy:.0%}" if busy else "-"
                oldest = f"{queue.oldest:.1f} s"
                numbers = (queue.busy, share, queue.due, oldest, queue.on_broker)
                table.add_row(queue.name, f"{weights[queue.name]:g}", *map(str, numbers))
        console = Console(highlight=False)
        console.print(table if table.row_count else "Every queue is idle.")
        console.print(
            f"Per queue at most {conf.get('WINDOW')} messages of new notifications and "
            f"{conf.get('RELEASE')} for due rows are released to the broker."
        )
