"""Where recipients are: zones of IANA, and countries whose public holidays are known."""

import re
from typing import Any, NamedTuple

from notifications.core.errors import InvalidField
from notifications.core.text import shown
from notifications.models.recipient import LONGEST_COUNTRY
from scheduling.calendar_rules import check_country as check_calendar
from scheduling.job_schema import InvalidJob
from scheduling.recurrence import ImpossibleSchedule
from scheduling.rule_documents import zone_of

COUNTRY = re.compile(r"[A-Z]{2}(-.+)?")


class Place(NamedTuple):
    """Where a recipient is, as far as it is known."""

    timezone: str = ""
    country: str = ""


NOWHERE = Place()
"""The place of a recipient of whom none is known."""


def check_timezone(value: Any) -> str:
    """Return a zone's name, or empty text. Raises ``InvalidField``."""
    if value == "":
        return ""
    try:
        if isinstance(value, str):
            zone_of({"timezone": value})
            return value
    except InvalidJob:
        pass
    raise InvalidField(
        f"There is no time zone {shown(value)}.",
        field="timezone",
        hint="Name a zone of IANA, like Europe/Vienna.",
    )


def check_country(value: Any) -> str:
    """Return a country, like ``AT`` or ``DE-BY``, or empty text. Raises ``InvalidField``."""
    if value == "":
        return ""
    # One form for each: the calendar knows Austria and AUT, too, which no filter would find by AT.
    if (
        not isinstance(value, str)
        or len(value) > LONGEST_COUNTRY
        or COUNTRY.fullmatch(value) is None
    ):
        raise InvalidField(
            f"{shown(value)} is not a country: that is two capital letters, like AT.",
            field="country",
            hint="Write it like AT, or with its region, like DE-BY.",
        )
    try:
        check_calendar(value)
    except ImpossibleSchedule:
        raise InvalidField(
            f"No public holidays of {shown(value)} are known.",
            field="country",
            hint="Write it like AT or DE-BY.",
        ) from None
    return value
