"""Schedules of batches to audiences: checked when they are made."""

from collections.abc import Mapping, Sequence
from typing import Any

from notifications.audiences import sending
from notifications.core.errors import InvalidNotification
from notifications.core.routing import SEND_TO_AUDIENCE_TASK
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.submission import projects
from scheduling import isolation
from scheduling.arguments import InvalidArguments, validates


@validates(SEND_TO_AUDIENCE_TASK)
def check_send_to_audience(args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Check what each run will send, with whom the audience has now.

    Raises ``InvalidArguments``.
    """
    if args:
        raise InvalidArguments("Pass the fields as kwargs.", field="args")
    fields = dict(kwargs)
    audience, variables = fields.pop("audience", None), fields.pop("variables", {})
    try:
        project = projects.check(fields.get("project", DEFAULT_PROJECT))
        sending.check(audience, fields, variables, World(project, fields.get("test") is True))
    except InvalidNotification as error:
        raise InvalidArguments(str(error), field=f"kwargs.{error.field}") from error
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
        raise InvalidArguments("These fields cannot be read.", field="kwargs") from None
