"""The signed links to a recipient's page of preferences."""

from functools import cache
from typing import NamedTuple

import structlog
from django.conf import settings
from django.core import signing

from notifications.core.world import World

log = structlog.get_logger(__name__)

_signer = signing.Signer(salt="notifications.preferences")


class BadLink(ValueError):
    """The link was not made here."""


class Link(NamedTuple):
    """Whose preferences a link opens."""

    world: World
    key: str


def url(world: World, key: str) -> str:
    """Make the link to a recipient's page; ``""`` where PUBLIC_URL is not set."""
    if not settings.PUBLIC_URL:
        _log_no_link()
        return ""
    return f"{settings.PUBLIC_URL}/preferences/{token(world, key)}"


@cache
def _log_no_link() -> None:
    """Say once in a process why there is no link."""
    log.warning("no_preferences_link", hint="Set PUBLIC_URL.")


def token(world: World, key: str) -> str:
    """Make the part of a link that says whose page it is."""
    return _signer.sign_object([*world, key])


def read(token: str) -> Link:
    """Return whose page a link opens. Raises ``BadLink``."""
    try:
        project, test, key = _signer.unsign_object(token)
        return Link(World(str(project), bool(test)), str(key))
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise BadLink(type(error).__name__) from None
