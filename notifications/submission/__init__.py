"""The one way in: checks, de-duplicates and keeps what shall be sent."""

from notifications.submission.bulk import send_many
from notifications.submission.single import Cancellation, Submission, cancel, send, submit

__all__ = ["Cancellation", "Submission", "cancel", "send", "send_many", "submit"]
