"""Dead letters."""

import hashlib
import json
import re

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q

from notifications.models.notification import Notification
from notifications.models.project import project_column


class FailedDelivery(models.Model):
    """A dead letter: what could not be delivered, why, and what was done about it.

    A message that was refused before it became a notification (another application's bad
    ``send_task``) has no notification; its ``request`` keeps what was asked for.
    """

    class State(models.TextChoices):
        OPEN = "open"
        REPLAYED = "replayed"
        DISCARDED = "discarded"

    notification = models.OneToOneField(
        Notification, models.CASCADE, null=True, blank=True, related_name="failed_delivery"
    )
    request = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder)
    message_id = models.CharField(max_length=255, blank=True, editable=False)
    project = project_column()
    test = models.BooleanField(default=False, db_default=False, editable=False)
    channel = models.CharField(max_length=20)
    priority = models.CharField(max_length=10)
    reason = models.CharField(max_length=50)
    error_class = models.CharField(max_length=50)
    code = models.CharField(max_length=50, blank=True)
    detail = models.TextField(blank=True)
    provider = models.CharField(max_length=50, blank=True)
    fingerprint = models.CharField(
        max_length=32, help_text="The same for all failed deliveries of one cause."
    )
    history = models.JSONField(default=list, help_text="The attempts, oldest first.")
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=255, blank=True, help_text="Why it was discarded.")
    replayed_as = models.ForeignKey(
        Notification, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "failed deliveries"
        permissions = [
            ("replay_faileddelivery", "Can send failed deliveries again"),
            ("discard_faileddelivery", "Can discard failed deliveries"),
        ]
        indexes = [
            models.Index(fields=["state", "fingerprint", "created_at"], name="dead_letter_cause"),
            models.Index(fields=["fingerprint", "-id"], name="dead_letter_of_cause"),
            models.Index(fields=["-created_at"], name="dead_letter_newest"),
            models.Index(fields=["project", "-id"], name="dead_letter_of_project"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["message_id"], name="dead_letter_message", condition=~Q(message_id="")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.reason}"


def fingerprint(channel: str, provider: str, reason: str, code: str, detail: str) -> str:
    """Name a cause: the same for failures that differ only in addresses, ids and numbers."""
    gist = re.sub(r"(?<!\S)[^\s@\d]*[@\d]\S*", "#", detail.lower())[:200]
    cause = json.dumps([channel, provider, reason, code, gist])
    return hashlib.blake2b(cause.encode(), digest_size=16).hexdigest()
