"""Finished notifications that left the live table, kept by month."""

from typing import Any

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from notifications.db import dialect
from notifications.models.notification import Attempt, NotificationRecord


class ArchivedNotification(NotificationRecord):
    """A finished notification as it left, with its attempts.

    On Postgres a table partitioned by the month of ``finished_at`` (migration ``0013_archive``),
    so that a month goes at once. No key here is unique over all months: only
    ``notifications.maintenance.archive`` writes it.
    """

    batch_id = models.UUIDField(null=True, blank=True)
    replay_of_id = models.UUIDField(null=True, blank=True)
    attempts = models.JSONField(help_text="The columns of each attempt, the first one first.")

    class Meta:
        indexes = [
            models.Index(fields=["recipient"], name="archived_recipient"),
            models.Index(
                Lower("recipient"),
                name="archived_recipient_case",
                condition=Q(channel="email") & ~Q(recipient=Lower("recipient")),
            ),
            models.Index(
                fields=["project", "recipient_key"],
                name="archived_of_recipient",
                condition=~Q(recipient_key=""),
            ),
            models.Index(
                fields=["reference"], name="archived_reference", condition=~Q(reference="")
            ),
            models.Index(
                fields=["idempotency_key"],
                name="archived_idempotency_key",
                condition=~Q(idempotency_key=""),
            ),
            models.Index(fields=["created_at", "id"], name="archived_created"),
            models.Index(fields=["mail"], name="archived_mail", condition=Q(mail__isnull=False)),
        ]

    def tries(self) -> list[Attempt]:
        """Return the attempts, the first one first."""
        return [Attempt(notification_id=self.id, **_read(kept)) for kept in self.attempts]


def _read(kept: dict[str, Any]) -> dict[str, Any]:
    return {
        name: dialect.read_time(value) if name.endswith("_at") else value
        for name, value in kept.items()
    }
