"""Throttles: how many notifications of a category a recipient gets in a while."""

from django.http import HttpRequest
from ninja import Field, Router, Schema
from ninja import Status as Answer

from notifications.api.authentication import mine, world_of
from notifications.api.fields import Input, Number, one_of
from notifications.api.problems import Problem
from notifications.core.throttles import Rest
from notifications.models import Throttle
from notifications.models.recipient import ADDRESSED
from notifications.recipients import throttles

router = Router()


class ThrottleIn(Input):
    """The throttle of a category on a channel."""

    category: str = Field(
        description="The category that it limits: one that recipients can refuse."
    )
    channel: str = Field(
        "",
        json_schema_extra=one_of(("", *ADDRESSED)),
        description="Empty: all channels together.",
    )
    limit: int = Field(description="How many a recipient gets in a period, 1 to 1000.")
    period: int | str = Field(
        86_400,
        description="Seconds, or a text like `30m`, `1h` or `7d`, counted from the first "
        f"notification of the period; at most 30 days. `{throttles.DAY}`: a day of the "
        "calendar where the recipient is.",
    )
    rest: str = Field(
        Rest.WAIT.value,
        json_schema_extra=one_of(tuple(Rest)),
        description="What happens to the others.",
    )
    template: str = Field("", description="The digest's template, if `rest` is `digest`.")


class ThrottleOut(Schema):
    """A throttle as it stands."""

    id: int
    category: str
    channel: str
    limit: int
    period: int | str = Field(description=f"In seconds, or `{throttles.DAY}`.")
    rest: str
    template: str

    @staticmethod
    def resolve_period(row: Throttle) -> int | str:
        """Return it as it may be given."""
        return throttles.period_of(row)


@router.get("", response=list[ThrottleOut], summary="List all")
def list_throttles(request: HttpRequest) -> list[Throttle]:
    """List the throttles."""
    return list(mine(Throttle.objects.all(), request))


@router.post("", response={201: ThrottleOut, 200: ThrottleOut}, summary="Save one")
def save_throttle(request: HttpRequest, payload: ThrottleIn) -> Answer[Throttle]:
    """Save the throttle of a category: 201 for its first, 200 for one that replaces it.

    What recipients have had keeps counting.
    """
    given = payload.model_dump()
    given["period"], given["local_day"] = throttles.read_period(given["period"])
    row = Throttle(**world_of(request).columns, **given)
    return Answer(201 if throttles.save(row) else 200, row)


@router.delete("/{id}", response={204: None}, summary="Delete one")
def delete_throttle(request: HttpRequest, id: Number) -> Answer[None]:  # noqa: A002 -- the path's own name
    """Delete a throttle. What waits for a place keeps its time."""
    if not mine(Throttle.objects.all(), request).filter(pk=id).delete()[0]:
        raise Problem("not-found", f"There is no throttle {id}.")
    throttles.forget()
    return Answer(204, None)
