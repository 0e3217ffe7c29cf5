"""The one way in: checks, de-duplicates and keeps what shall be sent."""

from notifications.submission.asynchronous import acancel, asend, asend_many
from notifications.submission.bulk import send_many
from notifications.submission.single import Cancellation, Submission, cancel, send, submit
from notifications.submission.stored_recipients import (
    choose_preferences,
    delete_recipient,
    save_recipient,
    save_recipients,
)

__all__ = [
    "Cancellation",
    "Submission",
    "acancel",
    "asend",
    "asend_many",
    "cancel",
    "choose_preferences",
    "delete_recipient",
    "save_recipient",
    "save_recipients",
    "send",
    "send_many",
    "submit",
]
