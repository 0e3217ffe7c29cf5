"""What happened in a minute, kept: charts of a week recount nothing."""

from typing import ClassVar

from django.db import models


class MinuteCount(models.Model):
    """Counts of a queue in the minute that begins at ``minute``.

    A minute that was counted has a row without a queue, so that one in which nothing happened is
    known from one that nobody counted.
    """

    minute = models.DateTimeField()
    channel = models.CharField(max_length=32, blank=True)
    priority = models.CharField(max_length=10, blank=True)
    accepted = models.PositiveIntegerField(default=0)
    sent = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["minute", "channel", "priority"], name="minute_count_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M} {self.channel}.{self.priority}"
