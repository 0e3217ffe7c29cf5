"""Providers: which accounts serve which channel, and how each is doing."""

from datetime import UTC, datetime

from django.http import HttpRequest
from ninja import Field, Router, Schema

from notifications.core import routing
from notifications.core.masking import without_addresses
from notifications.providers import accounts, health
from notifications.providers.accounts import Candidate
from notifications.providers.health import Health, LastError

router = Router()


class ProviderOut(Schema):
    """An account at a provider, as all workers saw it over the last minute."""

    name: str
    channel: str
    kind: str
    state: str = Field(description="`ready`, `circuit_open` (after failures), or `unusable`.")
    problem: str = Field(description="Why it is unusable.")
    weight: int
    good: int = Field(description="Attempts that the provider answered.")
    bad: int = Field(description="Attempts that the provider did not answer, or refused for now.")
    failures_in_a_row: int
    seconds_per_attempt: float
    open_until: datetime | None = Field(description="When a message may probe its open circuit.")
    resting_until: datetime | None = Field(
        description="The old name of `open_until`.", json_schema_extra={"deprecated": True}
    )
    last_error: str = Field(
        description="Its last error in the last ten minutes, without addresses."
    )


@router.get("", response=list[ProviderOut], summary="The health of each account")
def list_providers(request: HttpRequest) -> list[ProviderOut]:
    """Return how each account does; a channel without accounts has what the settings give it."""
    candidates = [
        candidate for channel in routing.CHANNELS for candidate in accounts.candidates(channel)
    ]
    names = [candidate.name for candidate in candidates]
    known, errors = health.healths(names), health.last_errors(names)
    return [
        _document(candidate, known[candidate.name], errors.get(candidate.name))
        for candidate in candidates
    ]


def _document(candidate: Candidate, seen: Health, error: LastError | None) -> ProviderOut:
    open_until = datetime.fromtimestamp(seen.open_until, UTC) if seen.open_until > 0 else None
    return ProviderOut(
        name=candidate.name,
        channel=candidate.account.channel,
        kind=candidate.account.kind,
        state="unusable" if candidate.problem else "circuit_open" if open_until else "ready",
        problem=candidate.problem,
        weight=candidate.weight,
        good=seen.good,
        bad=seen.bad,
        failures_in_a_row=seen.streak,
        seconds_per_attempt=seen.pace,
        open_until=open_until,
        resting_until=open_until,
        last_error=without_addresses(error.words) if error else "",
    )
