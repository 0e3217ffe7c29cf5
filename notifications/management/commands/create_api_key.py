"""Make a key to the HTTP API, or rotate one, and show it: this once."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.core.errors import UnknownProject
from notifications.core.world import DEFAULT_PROJECT
from notifications.db import clock
from notifications.gateways.govuk import client_keys
from notifications.models import ApiKey
from notifications.operations import api_keys


class Command(BaseCommand):
    """``manage.py create_api_key NAME``."""

    help = "Make a key to the HTTP API and print it. It is shown once: only its hash is kept."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read the name and what the key is for."""
        parser.add_argument("name", help="Who uses it.")
        parser.add_argument(
            "--scopes",
            default=",".join(ApiKey.Scope),
            help="Comma-separated; all of %(default)s by default.",
        )
        parser.add_argument(
            "--test", action="store_true", help="A test key: it sees and sends only tests."
        )
        parser.add_argument(
            "--project",
            default=DEFAULT_PROJECT,
            help="The project that the key belongs to (default %(default)s).",
        )
        parser.add_argument("--days", type=float, help="It expires after so many days.")
        parser.add_argument("--rate", type=int, help="Requests per second.")
        parser.add_argument(
            "--rotate",
            metavar="PREFIX",
            help="Replace the key with this prefix; all but its text stays the same.",
        )
        parser.add_argument(
            "--overlap",
            type=float,
            default=24.0,
            metavar="HOURS",
            help="For how many hours a rotated key stays valid (default %(default)g).",
        )

        parser.add_argument(
            "--govuk",
            action="store_true",
            help="Print it in the form that the clients of GOV.UK Notify take, for /v2/.",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Print the key on standard output, and what it is on standard error."""
        new = self._rotate(options) if options["rotate"] else self._create(options)
        row = new.row
        description = f"{row.kind} key {row.prefix} of the project {row.project}"
        self.stderr.write(f"{description} for {row.name}: {', '.join(row.scopes)}")
        self.stdout.write(client_keys.of(row) if options["govuk"] else new.token)

    def _create(self, options: dict[str, Any]) -> api_keys.NewKey:
        days = options["days"]
        rate = options["rate"]
        if rate is not None and rate < 1:
            raise CommandError("--rate must be 1 or more.")
        if days is not None and days <= 0:
            raise CommandError("--days must be above 0.")
        try:
            return api_keys.create(
                options["name"],
                scopes=[word for word in options["scopes"].split(",") if word],
                project=options["project"],
                kind=ApiKey.Kind.TEST if options["test"] else ApiKey.Kind.LIVE,
                expires_at=clock.now() + timedelta(days=days) if days else None,
                rate=rate,
            )
        except UnknownProject as error:
            raise CommandError(str(error)) from None
        except ValueError as error:
            known = ", ".join(ApiKey.Scope)
            raise CommandError(f"{error}. The scopes are {known}.") from None

    def _rotate(self, options: dict[str, Any]) -> api_keys.NewKey:
        try:
            row = ApiKey.objects.get(prefix=options["rotate"], name=options["name"])
        except ApiKey.DoesNotExist:
            raise CommandError(
                f"{options['name']} has no key with the prefix {options['rotate']}."
            ) from None
        return api_keys.rotate(row, overlap=timedelta(hours=options["overlap"]))
