"""What the built-in outbox keeps."""

from typing import Any

from django.db import models
from django.db.models.functions import Now

from notifications.models.notification import Notification


class OutboxMessage(models.Model):
    """What the built-in outbox captured, as the recipient would have seen it."""

    notification = models.OneToOneField(
        Notification, models.CASCADE, related_name="outbox_message", primary_key=True
    )
    channel = models.CharField(max_length=20)
    recipient = models.TextField()
    content: "models.JSONField[dict[str, Any]]" = models.JSONField()
    captured_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["-captured_at"], name="outbox_newest")]

    def __str__(self) -> str:
        return f"{self.channel} to {self.recipient}"
