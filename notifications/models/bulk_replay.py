"""A replay of many dead letters, at a rate, with its progress."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from notifications.core.world import World
from notifications.models.project import LONGEST_NAME


class BulkReplay(models.Model):
    """An order to replay the open dead letters of one cause; ``bulk_replays`` works it off.

    It takes the dead letters that there are when it is given, up to ``last_id``: those that
    fail again meanwhile are not sent round and round.
    """

    project = models.CharField(
        max_length=LONGEST_NAME, blank=True, default="", db_default="", help_text="Empty: all."
    )
    test = models.BooleanField(
        default=False, db_default=False, help_text="Only failed deliveries of tests."
    )
    fingerprint = models.CharField(max_length=32, help_text="The cause, empty for all.", blank=True)
    per_second = models.FloatField(help_text="How many become due each second.")
    last_id = models.BigIntegerField(editable=False)
    next_id = models.BigIntegerField(default=0, editable=False)
    total = models.PositiveIntegerField()
    accepted = models.PositiveIntegerField(default=0)
    refused = models.JSONField(default=dict, help_text="How many were refused, by reason.")
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["id"],
                name="bulk_replay_unfinished",
                condition=models.Q(finished_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"replay of {self.total}"

    @property
    def world(self) -> World | None:
        """Whose dead letters it is about; None for everybody's."""
        return World(self.project, self.test) if self.project else None

    @property
    def done(self) -> int:
        """How many were looked at, accepted or refused."""
        return int(self.accepted + sum(self.refused.values()))
