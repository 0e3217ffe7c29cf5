"""Find what is wrong, and say how to mend it."""

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from notifications.monitoring import diagnosis


class Command(BaseCommand):
    """``manage.py doctor``: ends with 1 if something is broken."""

    help = "Check settings, database, broker, workers, schedulers and providers."
    requires_system_checks: list[str] = []  # it makes them itself, and goes on after an error

    def add_arguments(self, parser: CommandParser) -> None:
        """Read how it is told."""
        parser.add_argument("--json", action="store_true")

    def handle(self, *_: Any, **options: Any) -> None:
        """Print each finding with its cure."""
        found = sorted(diagnosis.examine(), key=lambda finding: not finding.is_error)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(finding) for finding in found], indent=2))
        else:
            self._print_findings(found)
        if any(finding.is_error for finding in found):
            sys.exit(1)

    def _print_findings(self, found: list[diagnosis.Finding]) -> None:
        for finding in found:
            mark = "ERROR" if finding.is_error else "warning"
            self.stdout.write(f"{mark} {finding.id}: {finding.problem}\n  → {finding.cure}")
        if not found:
            self.stdout.write("Nothing is wrong.")
