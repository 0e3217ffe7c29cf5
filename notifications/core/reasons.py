"""Why a notification is in its state: the words that rows, dead letters and metrics share.

A provider's own words are not reasons; they are an attempt's ``code`` and ``detail``.
"""

from enum import StrEnum


class Reason(StrEnum):
    """One word for one cause, with where it comes from."""

    # Sent no more: the attempts (``retry.decide``).
    REJECTED = "rejected"
    OUTCOME_UNKNOWN = "outcome_unknown"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    EXPIRED = "expired"
    EXPIRES_BEFORE_RETRY = "expires_before_retry"
    EXPIRES_BEFORE_SLOT = "expires_before_slot"
    # Sent no more: what an attempt met.
    WORKER_LOST = "worker_lost"
    RENDER_ERROR = "render_error"
    PROVIDER_ERROR = "provider_error"
    # A fault of ours in one stage of the delivery (``attempt``).
    UNREADABLE = "unreadable"
    ERROR_IN_EXPIRE = "error_in_expire"
    ERROR_IN_SUPPRESS = "error_in_suppress"
    ERROR_IN_RENDER = "error_in_render"
    ERROR_IN_CHOOSE = "error_in_choose"
    ERROR_IN_PREPARE = "error_in_prepare"
    ERROR_IN_SEND = "error_in_send"
    ERROR_IN_RECORD = "error_in_record"
    INVALID_RECIPIENT = "invalid_recipient"
    BOUNCED = "bounced"  # a receipt says so
    FAILED = "failed"  # likewise
    DELAYED = "delayed"  # sent, and a mail server says that it still tries
    REFUSED = "refused"  # another application's message, which was not a valid notification
    # Called off.
    CANCELLED = "cancelled"
    BATCH_CANCELLED = "batch_cancelled"
    THROTTLED = "throttled"  # dropped, or waits for a place in the next period
    DIGEST_EMPTY = "digest_empty"  # no event has joined the digest
    CHAIN_REACHED = "chain_reached"  # another step of its chain has reached the recipient
    # Deferred: no attempt is used.
    UNKNOWN_ACCOUNT = "unknown_account"  # it names one that was deleted after it was accepted
    NO_PROVIDER = "no_provider"
    RATE_LIMITED = "rate_limited"
    ENDPOINT_BACKOFF = "endpoint_backoff"
    RECEIVER_RESTS = "receiver_rests"  # what older versions stored for endpoint_backoff
    ACCOUNT_BUSY = "account_busy"
    SLOT_TIME_OVER = "slot_time_over"
    NO_CONNECTION = "no_connection"  # to the database, to record over what would be sent
    SUSPECT = "suspect"
    BATCH_PAUSED = "batch_paused"
    HELD = "held"
    ACCOUNT_HELD = "account_held"
    WINDOW_CLOSED = "window_closed"  # its delivery window; also of one that expires before it opens
    CHAIN_WAITS = "chain_waits"  # for what the step before it, or one being sent, comes to
    OTHER_CHANNEL = "other_channel"  # it would expire before its window opens: not deferred
    # Suppressed: the recipient must not be written to (``models.Suppression``).
    HARD_BOUNCE = "hard_bounce"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 -- a device's address, no secret
    ENDPOINT_GONE = "endpoint_gone"
    COMPLAINT = "complaint"
    UNSUBSCRIBED = "unsubscribed"
    OPERATOR = "operator"
    # Suppressed: what the stored recipient has chosen (``recipients.preferences``).
    CATEGORY_REFUSED = "category_refused"
    CATEGORY_REFUSED_ON_CHANNEL = "category_refused_on_channel"
    CHANNEL_REFUSED = "channel_refused"  # all on this channel that can be refused
    EVERYTHING_REFUSED = "everything_refused"  # likewise on every channel
    CONSENT_MISSING = "consent_missing"  # to a category that is sent to who agreed, alone
    RECIPIENT_DELETED = "recipient_deleted"  # what they had chosen is not known any more


def known(word: str) -> str:
    """Return a reason of ours as it is, and any other word as ``other``: labels stay few."""
    return word if not word or word in _WORDS else "other"


_WORDS = frozenset(Reason)

CHOSEN = {
    Reason.CATEGORY_REFUSED: "the recipient has refused this category",
    Reason.CATEGORY_REFUSED_ON_CHANNEL: "the recipient has refused this category on this channel",
    Reason.CHANNEL_REFUSED: "the recipient has refused all that can be refused on this channel",
    Reason.EVERYTHING_REFUSED: "the recipient has refused all that can be refused",
    Reason.CONSENT_MISSING: "the recipient has not agreed to this category",
    Reason.RECIPIENT_DELETED: "the stored recipient was deleted",
}
"""The rules of preferences, and the deletion of a recipient, in words."""

DEFERRED = (
    *(Reason.NO_PROVIDER, Reason.RATE_LIMITED, Reason.ACCOUNT_BUSY, Reason.ACCOUNT_HELD),
    *(Reason.ENDPOINT_BACKOFF, Reason.RECEIVER_RESTS, Reason.SLOT_TIME_OVER, Reason.SUSPECT),
    Reason.NO_CONNECTION,
)
"""Why a row waits that may ask at any time whether it may go now."""
