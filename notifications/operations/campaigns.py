"""What would become of many, before anything is sent: refusals, cost, and how long it takes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from notifications.core import reasons
from notifications.db import clock
from notifications.models import Scope, Status, Suppression
from notifications.operations import holds
from notifications.providers import accounts
from notifications.submission import building
from notifications.submission.building import Answer, Asked
from notifications.submission.repeats import Item
from templates_engine import catalog, sms

SHOWN = 3  # messages that are shown as their recipients will see them
ERRORS_SHOWN = 20
MEASURED = 1000  # messages that are rendered to count their segments


@dataclass(slots=True)
class Outlook:
    """What a campaign would come to. ``errors`` holds (row, line, field, what is wrong).

    ``begins_at`` is None where the first is sent at once. ``matched`` is of an audience: how many
    recipients it has, of whom ``total`` were looked at.
    """

    total: int = 0
    matched: int | None = None
    accepted: int = 0
    refused: int = 0
    suppressed: dict[str, int] = field(default_factory=dict)
    errors: list[tuple[int, int | None, str, str]] = field(default_factory=list)
    examples: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    segments: int | None = None
    is_estimate: bool = False
    begins_at: datetime | None = None
    done_at: datetime | None = None
    held: list[str] = field(default_factory=list)

    @property
    def to_send(self) -> int:
        """How many the button sends: those that were accepted, or all of an audience."""
        return self.accepted if self.matched is None else self.matched

    @property
    def held_back(self) -> int:
        """How many are kept from their recipients by a suppression."""
        return sum(self.suppressed.values())


def outlook(items: Sequence[Item], common: Mapping[str, Any], lines: Sequence[int] = ()) -> Outlook:
    """Say what would become of these. Costs a render of at most ``MEASURED`` of them."""
    answers = building.try_many([Asked(item, common) for item in items])
    found = Outlook(total=len(answers))
    fine, suppressed = [], Counter[str]()
    for place, answer in enumerate(answers):
        if answer.error is not None:
            found.refused += 1
            line = lines[place] if place < len(lines) else None
            found.errors.append((place + 1, line, answer.error.field, str(answer.error)))
        elif answer.row["status"] == Status.SUPPRESSED:
            suppressed[_why(answer.row["reason"])] += 1
        else:
            fine.append(answer)
    found.suppressed = dict(suppressed)
    del found.errors[ERRORS_SHOWN:]
    found.accepted = len(fine)
    _render(found, fine)
    if fine:
        channel = str(fine[0].row["channel"])
        begins = min(answer.row["scheduled_at"] for answer in fine)
        found.begins_at = begins if begins > clock.now() else None
        found.done_at = _done_at(channel, fine[0].row["scheduled_at"], found.accepted)
        covering = {"", channel, f"{channel}.{fine[0].row['priority']}"}
        scopes = (Scope.EVERYTHING, Scope.CHANNEL, Scope.QUEUE)
        held = holds.in_force().filter(scope__in=scopes, value__in=covering)
        found.held = [str(hold) for hold in held]
    return found


def _why(reason: str) -> str:
    """Say why somebody is not written to."""
    if reason in reasons.CHOSEN:
        return reasons.CHOSEN[reasons.Reason(reason)]
    return str(Suppression.Reason(reason).label)


def _render(found: Outlook, fine: Sequence[Answer]) -> None:
    measured, segments = fine[:MEASURED], 0
    is_sms = bool(fine) and fine[0].row["channel"] == "sms"
    for answer in measured if is_sms else measured[:SHOWN]:
        content = content_of(answer.row)
        if len(found.examples) < SHOWN:
            found.examples.append((str(answer.row["recipient"]), content))
        segments += sms.segments(str(content.get("text", ""))) if is_sms else 0
    if is_sms and measured:
        found.is_estimate = len(fine) > len(measured)
        found.segments = round(segments * len(fine) / len(measured))


def content_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the recipient of a row would see, that is not stored yet."""
    if row["template_version_id"] is None:
        return {"subject": row["subject"], "body": row["body"], "text": row["body"]}
    version = catalog.version(row["template_version_id"])
    return version.render(row["context"], row["locale"] or None, version.sample_links)


def _done_at(channel: str, begins: datetime, count: int) -> datetime | None:
    """Return when the last would be sent by the accounts' limits; None where there is none."""
    rates = [candidate.rate for candidate in accounts.candidates(channel)]
    if not rates or None in rates:
        return None
    per_second = sum(1 / rate.interval for rate in rates if rate is not None)
    return max(begins, clock.now()) + timedelta(seconds=count / per_second)
