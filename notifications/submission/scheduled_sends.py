"""Schedules and jobs of sends: what submission would refuse is refused when they are made."""

from collections.abc import Mapping, Sequence
from typing import Any

from notifications.core.errors import InvalidNotification
from notifications.core.routing import SEND_TASK, SEND_TO_EACH_TASK
from notifications.db import clock
from notifications.submission import addressing, repeats, requests
from scheduling import isolation
from scheduling.arguments import InvalidArguments, validates


@validates(SEND_TASK)
def check_send(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Check the fields of one notification. Raises ``InvalidArguments``."""
    if args:
        raise InvalidArguments("Pass the fields of a notification as kwargs.", field="args")
    _check(kwargs)


@validates(SEND_TO_EACH_TASK)
def check_send_to_each(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Check the same fields for each recipient. Raises ``InvalidArguments``."""
    fields = dict(kwargs)
    recipients = args[0] if args else fields.pop("recipients", None)
    place = "args.0" if args else "kwargs.recipients"
    if len(args) > 1 or (args and "recipients" in fields):
        raise InvalidArguments("Pass the fields as kwargs.", field="args")
    for name in ("recipient", "to"):
        if name in fields:
            raise InvalidArguments(
                "The list gives the recipients: leave this field out.", field=f"kwargs.{name}"
            )
    if not isinstance(recipients, list | tuple) or not recipients:
        raise InvalidArguments("Give a list of recipients.", field=place)
    for number, recipient in enumerate(recipients):
        _check({**fields, **repeats.to_one(recipient)}, recipient_is=f"{place}.{number}")


def _check(fields: Mapping[str, Any], *, recipient_is: str = "") -> None:
    """Check one notification's fields; ``recipient_is`` is its recipient's place in a list."""
    try:
        addressing.check_alone(requests.read(fields), clock.now())
    except InvalidNotification as error:
        is_whom = error.field.partition(".")[0] in ("recipient", "to")
        place = recipient_is if is_whom and recipient_is else f"kwargs.{error.field}"
        raise InvalidArguments(str(error), field=place) from error
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
        raise InvalidArguments("These fields cannot be read.", field="kwargs") from None
