"""Throttles: how many notifications of a category a recipient gets in a while."""

from datetime import datetime
from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from notifications.core.throttles import Rest
from notifications.models.preference import LONGEST_CATEGORY
from notifications.models.project import project_column
from notifications.models.recipient import ADDRESSED


class Throttle(models.Model):
    """At most so many in a period; what becomes of the rest. ``recipients.throttles`` checks it."""

    project = project_column(editable=True)
    test = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="It belongs to tests only."
    )
    category = models.CharField(max_length=LONGEST_CATEGORY)
    channel = models.CharField(
        max_length=20,
        blank=True,
        choices=[(c, c) for c in ADDRESSED],
        help_text="Empty: all channels together.",
    )
    limit = models.IntegerField(help_text="How many a recipient gets in a period.")
    period = models.IntegerField(
        default=86_400, help_text="Seconds from the first notification of the period."
    )
    local_day = models.BooleanField(
        default=False,
        db_default=False,
        help_text="A period is a day of the calendar where the recipient is.",
    )
    rest = models.CharField(
        max_length=6,
        choices=[(rest.value, rest.value) for rest in Rest],
        default=Rest.WAIT.value,
        help_text="What happens to the others: they wait for the next period, are dropped, or go "
        "together as a digest at its beginning.",
    )
    template = models.CharField(
        max_length=100, blank=True, help_text="The digest's template: it gets items, count, rest."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["project", "category", "channel", "local_day", "period"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project", "test", "category", "channel", "period", "local_day"],
                name="throttle_of_period",
            )
        ]

    def __str__(self) -> str:
        return f"{self.category} {self.channel}".strip()


class ThrottleUse(models.Model):
    """What a recipient has had of a throttle since the period's begin.

    ``used`` counts those that wait, too: each has its place in one of the next periods.
    """

    throttle = models.ForeignKey(Throttle, models.CASCADE, related_name="+", db_index=False)
    recipient_key = models.CharField(max_length=255, blank=True)
    recipient = models.TextField(
        blank=True, help_text="The address of a recipient who is not stored."
    )
    since: "models.DateTimeField[datetime, datetime]" = models.DateTimeField()
    until: "models.DateTimeField[datetime, datetime]" = models.DateTimeField(
        help_text="When all places that were given are past."
    )
    used = models.IntegerField(default=0)
    passed = models.IntegerField(
        default=0,
        db_default=0,
        help_text="In how many of its first periods places were passed over.",
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["throttle", "recipient_key", "recipient"], name="throttle_use_of_recipient"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["until"], name="throttle_use_age")]

    def __str__(self) -> str:
        return f"{self.throttle_id} {self.used}"
