"""Audiences: saved filters over stored recipients, and batches that are sent to whom they match."""

from notifications.audiences.saved import (
    count_audience,
    delete_audience,
    preview_audience,
    save_audience,
)
from notifications.audiences.sending import send_to_audience

__all__ = [
    "count_audience",
    "delete_audience",
    "preview_audience",
    "save_audience",
    "send_to_audience",
]
