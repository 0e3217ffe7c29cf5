"""The links of a recipient's own that a message shows: to unsubscribe, and to choose."""

from uuid import UUID

from notifications.core.world import World
from notifications.recipients import preference_links, unsubscribe_links
from templates_engine.rendering import CompiledVersion, Links


def of(
    version: CompiledVersion,
    id_: UUID,
    to: tuple[str, str],
    world: World,
    recipient_key: str,
    *,
    is_list_mail: bool = False,
) -> Links:
    """Make the links that a version shows, of a notification ``to`` this channel and address.

    One that cannot be made is empty. Mail of a list has the link to unsubscribe in its headers,
    so it is made whatever the version shows.
    """
    may_unsubscribe = is_list_mail or version.may_unsubscribe
    shows_preferences = recipient_key and version.shows_preferences
    return Links(
        unsubscribe_links.url(id_, *to, world) if may_unsubscribe else "",
        preference_links.url(world, recipient_key) if shows_preferences else "",
    )
