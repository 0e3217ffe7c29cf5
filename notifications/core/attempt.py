"""One attempt at a notification: the claim, the message that a provider gets, and the report.

A field that both ``Claim`` and ``Message`` have reaches the provider: it is copied by its name.
"""

import math
import time
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from notifications.core.reasons import Reason
from notifications.core.world import DEFAULT_PROJECT, World
from scheduling.isolation import Fault

Content = Mapping[str, Any]


class Claim(NamedTuple):
    """What a worker needs of a row that it has claimed; no second query is made for it."""

    id: UUID
    channel: str
    priority: str
    recipient: str
    template_version_id: int | None
    locale: str
    context: dict[str, Any]
    subject: str
    body: str
    guarantee: str
    retry: dict[str, Any] | None
    metadata: dict[str, Any]
    continuation: dict[str, Any] | None
    scheduled_at: datetime
    expires_at: datetime | None
    lease_until: datetime
    attempt: int
    failovers: int
    losses: int
    reason: str
    test: bool
    request_id: str
    options: dict[str, Any] | None
    mail_id: int | None
    project: str = DEFAULT_PROJECT
    traceparent: str = ""
    recipient_key: str = ""
    category: str = ""
    chain_run: UUID | None = None
    chain_step: int | None = None
    digest_id: UUID | None = None
    account: str = ""  # the one that alone may send it
    held_accounts: str = ""  # one a line: no message that was claimed now goes by these

    @property
    def world(self) -> World:
        """Whose it is, and whether it is a test."""
        return World(self.project, self.test)

    def expires_by(self, moment: datetime) -> bool:
        """Tell whether the notification has expired at this moment."""
        return self.expires_at is not None and self.expires_at <= moment


class Message(NamedTuple):
    """What a provider is handed: finished content, with the id that stays the same on each try.

    ``content`` holds the channel's parts (email: subject, text, html), and the ``options``.
    ``timeout`` is in seconds and shorter than the lease: an attempt is over within it, with all of
    its steps. ``deadline`` is of ``time.monotonic``: the expiry or the end of the lease, whichever
    is earlier, past which no attempt goes, whenever it began. ``seconds_left`` heeds both.
    ``ttl`` is how many whole seconds the message is still of use, None for ever.
    """

    id: UUID
    channel: str
    recipient: str
    content: Content
    attempt: int
    timeout: float
    expires_at: datetime | None = None
    ttl: int | None = None
    metadata: Mapping[str, Any] = MappingProxyType({})
    deadline: float = math.inf
    project: str = DEFAULT_PROJECT

    def seconds_left(self) -> float:
        """Return the seconds that an attempt which begins now may take; 0 or less for none."""
        return min(self.timeout, self.deadline - time.monotonic())


class Result(StrEnum):
    """What one attempt came to."""

    SENT = "sent"
    PERMANENT = "permanent"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"


class Outcome(NamedTuple):
    """One attempt's result with the provider's own words.

    ``retry_after`` is in seconds; ``detail`` is for people and carries no body and no secret.
    ``local`` says that the trouble is this recipient's alone, not the provider's; ``elsewhere``,
    of a permanent one, that another account may take it; ``lost``, that the worker died, and
    nobody is left to tell.
    """

    result: Result
    code: str = ""
    detail: str = ""
    reason: str = ""
    provider_message_id: str = ""
    retry_after: float | None = None
    local: bool = False
    elsewhere: bool = False
    lost: bool = False

    @property
    def may_go_on(self) -> bool:
        """Whether it was not delivered, and another account may take it."""
        return self.result is Result.TRANSIENT or (
            self.result is Result.PERMANENT and self.elsewhere
        )


class Report(NamedTuple):
    """The provider's outcome of one claim, and when it was tried.

    ``choice`` says why this provider; ``another`` that there is one more to go on to at once;
    ``segments`` how many an SMS took.
    """

    claim: Claim
    outcome: Outcome
    provider: str
    started_at: datetime
    choice: str = ""
    another: bool = False
    segments: int | None = None


def error_in(stage: str) -> str:
    """Return the reason of a message that met a fault of ours in this stage of its delivery."""
    return Reason(f"error_in_{stage}")


def faulted(claim: Claim, fault: Fault, started_at: datetime, *, handed: bool = False) -> Report:
    """Report a fault of ours, or of a provider's code, that cost this claim its attempt.

    Before it was ``handed`` to a provider nothing was delivered; after it, nobody knows.
    """
    result = Result.UNKNOWN if handed else Result.TRANSIENT
    outcome = Outcome(
        result,
        code=fault.error,
        reason=error_in(fault.stage),
        detail=f"An error in the stage {fault.stage}, at {fault.place}.",
    )
    return Report(claim, outcome, provider="", started_at=started_at)
