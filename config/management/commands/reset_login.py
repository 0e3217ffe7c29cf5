"""Have a member of staff set up a second factor anew, and be known to the issuer anew."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    """``manage.py reset_login USER``."""

    help = "Take away a user's second factor, recovery codes and ties to the OpenID issuer."

    def add_arguments(self, parser: CommandParser) -> None:
        """Read the user's name."""
        parser.add_argument("username")

    def handle(self, *_: Any, **options: Any) -> None:
        """Take it away, or raise ``CommandError``."""
        if not settings.LOGIN_BY_ALLAUTH:
            raise CommandError("Neither ADMIN_OIDC_ISSUER nor ADMIN_SECOND_FACTOR is set.")
        user = User.objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError("There is no such user.")
        gone = sum(rows.delete()[0] for rows in _of(user))
        self.stderr.write(f"Took away {gone}.")


def _of(user: User) -> list[Any]:
    from allauth.mfa.models import Authenticator  # noqa: PLC0415 -- where it is installed

    rows = [Authenticator.objects.filter(user=user)]
    if settings.ADMIN_OIDC_ISSUER:
        from allauth.socialaccount.models import SocialAccount  # noqa: PLC0415 -- as above

        rows.append(SocialAccount.objects.filter(user=user))
    return rows
