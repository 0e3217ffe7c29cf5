"""One notification's story: every state, attempt and decision, in the order they happened."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from notifications.chains import story
from notifications.core import reasons
from notifications.core.masking import without_addresses
from notifications.core.reasons import Reason
from notifications.models import (
    WAITING,
    ArchivedNotification,
    Attempt,
    ChainRun,
    EventEffect,
    Notification,
    NotificationRecord,
    Status,
)
from notifications.operations import holds
from notifications.providers import accounts, health


@dataclass(frozen=True, slots=True)
class Event:
    """A moment of the story. ``tone`` is good, bad, waiting or plain."""

    at: datetime | None
    title: str
    detail: str = ""
    tone: str = "plain"


_ENDS = {
    Status.SENT: ("Sent: the provider took it", "good"),
    Status.DELIVERED: ("Delivered: the recipient has it", "good"),
    Status.FAILED: ("Failed: kept among the failed deliveries", "bad"),
    Status.CANCELLED: ("Cancelled", "plain"),
    Status.EXPIRED: ("Expired: it would have been stale", "bad"),
    Status.MERGED: ("Merged: it goes with a digest", "good"),
    Status.SUPPRESSED: ("Suppressed: the recipient must not be written to", "bad"),
}
NAMED = 10  # of a digest's notifications
_TONES = {"sent": "good", "permanent": "bad", "transient": "waiting", "unknown": "waiting"}
_RESULTS = {
    "sent": "accepted by the provider",
    "permanent": "refused for good",
    "transient": "refused for now",
    "unknown": "outcome unknown",
}


def of(notification: Notification | ArchivedNotification, *, masked: bool = False) -> list[Event]:
    """Tell the story from the row, its attempts, its dead letter and its replays.

    ``masked`` leaves addresses out of what providers said.
    """
    events = [*_begin(notification)]
    for attempt in notification.tries():
        events += _attempt(attempt, without_addresses if masked else str)
    events += _now(notification)
    if isinstance(notification, Notification) and notification.status in WAITING:
        events += [*_held(notification), *_accounts(notification)]
    if notification.read_at:
        events.append(Event(notification.read_at, "Read: the recipient opened it", tone="good"))
    if isinstance(notification, Notification):
        events += [*_afterwards(notification), *_other_steps(notification)]
        events += _passed_over(notification)
    return sorted(events, key=lambda event: (event.at is None, event.at or notification.created_at))


def _begin(notification: NotificationRecord) -> list[Event]:
    replayed = f"a replay of {notification.replay_of_id}" if notification.replay_of_id else ""
    asked = f"asked for by the request {notification.request_id}" if notification.request_id else ""
    held = f"held by the throttle {notification.throttle}" if notification.throttle else ""
    origin = " · ".join(filter(None, (*_caused_by(notification), replayed, asked, held)))
    begun = [Event(notification.created_at, "Accepted", origin)]
    if notification.scheduled_at > notification.created_at + timedelta(milliseconds=1):
        begun.append(Event(notification.scheduled_at, "Due", "as asked for at acceptance"))
    return begun


def _caused_by(notification: NotificationRecord) -> Iterator[str]:
    """Name the event and its rule that caused it, and the batch that it came with."""
    effects = EventEffect.objects.filter(notification_id=notification.id)
    for rule, event, name in effects.values_list("rule_name", "event_id", "event__name")[:3]:
        yield f"caused by the event {name} ({event}) through the rule {rule}"
    if notification.chain_run:
        run = ChainRun.objects.filter(pk=notification.chain_run).first()
        yield f"step {notification.chain_step} of the chain {run or notification.chain_run}"
    if notification.digest_id:
        yield from _digest(notification)
    if notification.batch_id:
        yield f"with the batch {notification.batch_id}"


def _digest(notification: NotificationRecord) -> Iterator[str]:
    """Name the digest that it goes with, or say what it has collected."""
    if notification.status == Status.MERGED:
        yield f"goes with the digest {notification.digest_id}"
        return
    members = Notification.objects.filter(
        digest_id=notification.digest_id, status=Status.MERGED
    ).order_by("created_at", "id")
    named = ", ".join(str(id_) for id_ in members.values_list("pk", flat=True)[:NAMED])
    count = members.count()
    more = f" and {count - NAMED} more" if count > NAMED else ""
    yield f"the digest of {count} notifications: {named}{more}" if count else "an empty digest"


def _other_steps(notification: Notification) -> list[Event]:
    """Tell what the other steps of its chain have come to."""
    chain = story.of_notification(notification.chain_run)
    return [
        Event(
            part.read_at or part.sent_at or part.due_at,
            f"Step {part.step} of the chain, by {step.channel}: {part.status}",
            " · ".join(filter(None, (part.reason, str(part.key)))),
            "good" if step.reached else "plain",
        )
        for step in (chain.steps if chain else [])
        if (part := step.part).key != notification.id
    ]


def _held(notification: Notification) -> list[Event]:
    return [
        Event(
            max(hold.created_at, notification.created_at),
            f"Held back: {hold}",
            hold.reason,
            "waiting",
        )
        for hold in holds.covering(notification)
    ]


def _passed_over(notification: Notification) -> list[Event]:
    return [
        Event(
            max(hold.created_at, notification.scheduled_at),
            f"{Reason.ACCOUNT_HELD}: the account {hold.value} was held, and was not waited for",
            hold.reason,
            "waiting",
        )
        for hold in holds.passed_over(notification)
    ]


def _attempt(attempt: Attempt, shown: Callable[[str], str]) -> list[Event]:
    words = [
        f"provider {attempt.provider}" if attempt.provider else "",
        f"chosen: {attempt.choice}" if attempt.choice else "",
        f"answered {attempt.code}" if attempt.code else "",
        shown(attempt.detail),
        f"its id {attempt.provider_message_id}" if attempt.provider_message_id else "",
        f"took {_seconds(attempt)}" if attempt.started_at else "",
        f"worker {attempt.worker}" if attempt.worker else "",
    ]
    events = [
        Event(
            attempt.finished_at,
            f"Attempt {attempt.number}: {_RESULTS.get(attempt.result, attempt.result)}",
            " · ".join(word for word in words if word),
            _TONES.get(attempt.result, "plain"),
        )
    ]
    if attempt.retry_at:
        events.append(Event(attempt.retry_at, "Retry planned", "by the retry policy", "waiting"))
    return events


def _now(notification: NotificationRecord) -> list[Event]:
    status = Status(notification.status)
    if status in _ENDS:
        title, tone = _ENDS[status]
        said = reasons.CHOSEN.get(notification.reason, "")  # type: ignore[call-overload]
        detail = f"{notification.reason}: {said}" if said else notification.reason
        return [Event(notification.finished_at, title, detail, tone)]
    waits = {
        Status.SCHEDULED: "Waiting for its time",
        Status.QUEUED: "Waiting for a worker",
        Status.SENDING: "With a worker, whose lease ends then",
    }
    return [Event(notification.due_at, waits[status], notification.reason, "waiting")]


def _accounts(notification: Notification) -> list[Event]:
    """Return the accounts that a notification waits for, with the last error of each."""
    if notification.test:
        return []
    candidates = accounts.candidates(notification.channel, notification.account)
    names = [candidate.name for candidate in candidates]
    if not names and notification.account:
        title = f"The account {notification.account}, which alone may send it, is not enabled"
        return [Event(None, title, tone="bad")]
    if not names:
        return [Event(None, f"No account of {notification.channel} is enabled", tone="bad")]
    known, errors = health.healths(names), health.last_errors(names)
    events = []
    for candidate in candidates:
        until = known[candidate.name].open_until
        error = errors.get(candidate.name)
        if candidate.problem:
            title = f"The account {candidate.name} cannot be used"
            events.append(Event(None, title, candidate.problem, "bad"))
        elif until:
            title = f"Until then the account {candidate.name} has an open circuit"
            words = f"its last error: {error.words}" if error else ""
            events.append(Event(datetime.fromtimestamp(until, UTC), title, words, "waiting"))
    return events


def _afterwards(notification: Notification) -> list[Event]:
    events = []
    dead = getattr(notification, "failed_delivery", None)
    if dead is not None and dead.resolved_at:
        person = f"by {dead.resolved_by}" if dead.resolved_by else ""
        words = f"{dead.resolution} {person}".strip()
        events.append(Event(dead.resolved_at, f"Failed delivery {dead.state}", words))
    events += [
        Event(replay.created_at, "Sent again", f"as {replay.id}: {replay.status}")
        for replay in notification.replays.order_by("id")[:20]
    ]
    return events


def _seconds(attempt: Attempt) -> str:
    if attempt.started_at is None:
        return ""
    return f"{(attempt.finished_at - attempt.started_at).total_seconds():.3f} s"
