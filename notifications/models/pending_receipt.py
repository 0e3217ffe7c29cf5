"""Receipts that came before their time."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now


class PendingReceipt(models.Model):
    """A receipt whose notification was not known as sent when it came.

    A provider can be quicker than the worker that still records what it sent. It is looked at
    again at ``due_at``, until it fits or is too old.
    """

    account = models.CharField(max_length=50)
    channel = models.CharField(max_length=20)
    event = models.CharField(max_length=15)
    provider_message_id = models.CharField(max_length=255, blank=True)
    notification_id = models.UUIDField(null=True, blank=True)
    recipient = models.TextField(blank=True)
    code = models.CharField(max_length=50, blank=True)
    detail = models.TextField(blank=True)
    received_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["due_at"], name="pending_receipt_due")]

    def __str__(self) -> str:
        return f"{self.account}: {self.event}"
