"""``manage.py sync_templates DIR``: load templates from a folder, or write them to one."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from templates_engine import folders
from templates_engine.errors import TemplateError


class Command(BaseCommand):
    """Loads, compares or writes. Loading the same folder again changes nothing."""

    help = "Load templates from a folder and publish them, or write the published ones to it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument("folder", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="show the diff, change nothing")
        parser.add_argument("--draft", action="store_true", help="leave new versions unpublished")
        parser.add_argument("--write", action="store_true", help="write to the folder instead")
        parser.add_argument(
            "--namespace", default="", help="whose templates: a project's, all partials are shared"
        )

    def handle(
        self,
        *_: Any,
        folder: Path,
        dry_run: bool,
        draft: bool,
        write: bool,
        namespace: str,
        **__: Any,
    ) -> None:
        """Run it."""
        if namespace and not all(is_one(namespace) for is_one in folders.namespace_checks):
            raise CommandError(f"There is no project {namespace!r} beside the default one.")
        if write:
            for path in folders.write(folder, namespace):
                self.stdout.write(str(path))
            return
        if not folder.is_dir():
            raise CommandError(f"{folder} is not a folder.")

        def told(change: folders.Change) -> None:
            self.stdout.write(f"{change.action:<10}{change.name}")
            if change.diff and (dry_run or change.action == "update"):
                self.stdout.write(change.diff, ending="")
            self.stdout.flush()  # a line for each template, as it is loaded

        try:
            folders.load(folder, dry_run=dry_run, as_draft=draft, namespace=namespace, told=told)
        except TemplateError as error:
            notes = getattr(error, "__notes__", [])
            lines = (str(error), *notes, error.hint, "Nothing was changed.")
            raise CommandError("\n".join(filter(None, lines))) from error
        if dry_run:
            self.stdout.write("Nothing was changed.")
