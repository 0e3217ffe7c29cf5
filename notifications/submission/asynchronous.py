"""The same for code that awaits, such as an async view: the database is asked in a thread.

A transaction belongs to its thread, so what is sent here is committed on return, and is no part
of a transaction of the caller's: there send with ``sync_to_async`` around all of it.
"""

from collections.abc import Iterable
from typing import Unpack
from uuid import UUID

from asgiref.sync import sync_to_async

from notifications.models import Notification
from notifications.submission.bulk import Submitted, send_many
from notifications.submission.fields import CommonFields, Fields
from notifications.submission.repeats import Item
from notifications.submission.single import Cancellation, cancel, send


async def asend(**fields: Unpack[Fields]) -> Notification:
    """Accept one notification, as ``send`` does, and raises what it raises."""
    return await sync_to_async(send)(**fields)


async def asend_many(
    requested: Iterable[Item], *, name: str = "", **common: Unpack[CommonFields]
) -> Submitted:
    """Accept many as one batch, as ``send_many`` does, and raises what it raises."""
    return await sync_to_async(send_many)(requested, name=name, **common)


async def acancel(id_: UUID | str) -> Cancellation:
    """Call a notification off, as ``cancel`` does, and raises what it raises."""
    return await sync_to_async(cancel)(id_)
