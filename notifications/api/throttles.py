"""Throttles: how many notifications of a category a recipient gets in a while."""

from django.http import HttpRequest
from ninja import Field, Router, Schema
from ninja import Status as Answer
from pydantic import ConfigDict

from notifications.api.authentication import mine, world_of
from notifications.api.fields import CATEGORY_NAME, Input, Number, Whole, one_of
from notifications.api.json_schemas import both, given, lacking, number, some_of, text
from notifications.api.problems import Problem
from notifications.core.throttles import Rest
from notifications.models import Throttle
from notifications.models.recipient import ADDRESSED
from notifications.recipients import throttles
from scheduling.rule_forms import any_case

router = Router()


_OTHERS = [rest for rest in Rest if rest != Rest.DIGEST]
_WRITTEN = rf"(?:{any_case(throttles.DAY)}|[0-9]{{1,9}}|[0-9]{{1,9}}\s?[smhdSMHD])"
PERIOD = text(pattern=rf"^\s*{_WRITTEN}\s*$")
OF_A_DIGEST = some_of(
    both({"properties": {"rest": {"enum": _OTHERS}}}, lacking("template")),
    both(
        {"properties": {"rest": {"const": Rest.DIGEST.value}}, "required": ["rest"]},
        given("channel", "template"),
    ),
)
"""Documents that a digest is of one channel and has a template, and nothing else has one."""


class ThrottleIn(Input):
    """A throttle of a category on a channel: one for each period."""

    model_config = ConfigDict(json_schema_extra=OF_A_DIGEST)

    category: str = Field(
        description="The category that it limits: one that recipients can refuse.",
        json_schema_extra=CATEGORY_NAME,
    )
    channel: str = Field(
        "",
        json_schema_extra=one_of(("", *ADDRESSED)),
        description="Empty: all channels together.",
    )
    limit: Whole = Field(
        description="How many a recipient gets in a period, 1 to 1000.",
        json_schema_extra=number(1, throttles.MOST),
    )
    period: Whole | str = Field(
        86_400,
        description="Seconds, or a text like `30m`, `1h` or `7d`, counted from the first "
        f"notification of the period; at most 30 days. `{throttles.DAY}`: a day of the "
        "calendar where the recipient is.",
        json_schema_extra=number(throttles.SHORTEST, throttles.LONGEST) | PERIOD,
    )
    rest: str = Field(
        Rest.WAIT.value,
        json_schema_extra=one_of(tuple(Rest)),
        description="What happens to the others.",
    )
    template: str = Field(
        "", description="The digest's template, if `rest` is `digest`.", json_schema_extra=text()
    )


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
    """Save a throttle: 201 for a new one, 200 for one that had its category, channel and period.

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
