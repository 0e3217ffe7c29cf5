"""Replay failed deliveries, one cause at a time or all."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.core.errors import InvalidField
from notifications.management import progress
from notifications.operations import bulk_replays
from notifications.operations.causes import DryRun, causes, dry_run


class Command(BaseCommand):
    """``manage.py replay [CAUSE]``."""

    help = "List the causes of failed deliveries; with a cause or --all, send them again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read which, and how fast."""
        parser.add_argument("cause", nargs="?", help="A fingerprint, or its first letters.")
        parser.add_argument("--all", action="store_true", help="Every cause.")
        parser.add_argument("--per-second", type=float, default=10.0, help="(default %(default)g)")
        parser.add_argument("--dry-run", action="store_true", help="Only print what would happen.")

    def handle(self, *_: Any, **options: Any) -> None:
        """List, or replay and wait for the end. Raises ``CommandError`` for an unknown cause."""
        if not options["cause"] and not options["all"]:
            self._list()
            return
        fingerprint = "" if options["all"] else self._fingerprint(options["cause"])
        if options["dry_run"]:
            count = bulk_replays.open_ones(fingerprint).count()
            self.stdout.write(
                f"Would look at {count}, the last of them due in about "
                f"{bulk_replays.forecast(count, options['per_second'])}."
            )
            self._print_dry_run(dry_run(fingerprint))
            return
        self._replay(fingerprint, options["per_second"])

    def _print_dry_run(self, found: DryRun) -> None:
        """Say what would become of the first of them."""
        self.stdout.write(f"Of the first {found.looked_at}, {found.accepted} would be accepted.")
        for reason, count in found.refused.items():
            self.stdout.write(f"Refused {count}: {reason}")
        for why, count in found.suppressed.items():
            self.stdout.write(f"Suppressed {count}: {why}")
        for trouble in found.accounts:
            self.stdout.write(f"{trouble}.")

    def _list(self) -> None:
        found = causes()
        for cause in found:
            example = cause.example
            words = (example.channel, example.reason, example.code, example.detail[:80])
            self.stdout.write(f"{cause.fingerprint[:12]}  {cause.count:>7}  {' '.join(words)}")
        if not found:
            self.stdout.write("Nothing is open.")

    def _fingerprint(self, start: str) -> str:
        rows = bulk_replays.open_ones().filter(fingerprint__startswith=start).order_by()
        found = list(rows.values_list("fingerprint", flat=True).distinct()[:2])
        if len(found) != 1:
            raise CommandError(
                f"{'No' if not found else 'More than one'} open cause begins with {start!r}: "
                "manage.py replay lists them."
            )
        return found[0]

    def _replay(self, fingerprint: str, per_second: float) -> None:
        try:
            order = bulk_replays.order(fingerprint, per_second)
        except InvalidField as error:
            raise CommandError(str(error)) from error
        # The schedulers work it off, too; whoever comes first takes the next batch.
        with progress.shown_on(self.stderr, total=order.total) as report:
            while order.finished_at is None:
                before = order.done
                bulk_replays.tick()
                order.refresh_from_db()
                report(order.done - before)
        self.stdout.write(f"Accepted {order.accepted} of {order.total} again.")
        for reason, count in order.refused.items():
            self.stdout.write(f"Refused {count}: {reason}")
