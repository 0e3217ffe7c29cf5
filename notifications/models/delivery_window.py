"""Delivery windows: the hours at which a category or a template may reach people."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from notifications.models.preference import LONGEST_CATEGORY
from notifications.models.project import project_column
from notifications.models.recipient import ADDRESSED

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONGEST_SPREAD = 720  # minutes


def every_day() -> list[str]:
    """Return all days of the week."""
    return list(DAYS)


class DeliveryWindow(models.Model):
    """When notifications of a category, or of a template, are sent: local hours of the recipient.

    One that is due outside waits for the next opening. ``recipients.windows`` checks and reads it.
    """

    class IfLate(models.TextChoices):
        SEND = "send"  # at once, outside the window
        DROP = "drop"  # it expires
        CHANNEL = "channel"  # by ``late_channel``

    project = project_column(editable=True)
    test = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="It belongs to tests only."
    )
    category = models.CharField(
        max_length=LONGEST_CATEGORY, blank=True, help_text="The category that it is for."
    )
    template = models.CharField(
        max_length=100,
        blank=True,
        help_text="The template that it is for, instead of a category. It wins over a category's "
        "window.",
    )
    begins = models.TimeField(help_text="The local time at which it opens, like 08:00.")
    ends = models.TimeField(
        help_text="The local time at which it closes; on the next day, if not later than it opens."
    )
    days: "models.JSONField[list[str]]" = models.JSONField(
        default=every_day, help_text='The days on which it opens: ["mon", "tue"].'
    )
    holidays = models.BooleanField(
        default=True, help_text="Whether it opens on public holidays of the recipient's country."
    )
    timezone = models.CharField(
        max_length=64,
        blank=True,
        help_text="The time zone of recipients without one. Empty: TIME_ZONE.",
    )
    country = models.CharField(
        max_length=10,
        blank=True,
        help_text="The country of recipients without one, like AT or DE-BY.",
    )
    spread = models.PositiveSmallIntegerField(
        default=10,
        help_text="Minutes after the opening over which waiting notifications are spread.",
    )
    if_late = models.CharField(
        max_length=10,
        choices=IfLate.choices,
        default=IfLate.DROP,
        help_text="What happens to a notification that would expire before it opens.",
    )
    late_channel = models.CharField(
        max_length=20,
        blank=True,
        default="",
        db_default="",
        choices=[(c, c) for c in ADDRESSED],
        help_text="With channel: the channel used instead.",
    )
    late_template = models.CharField(
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="The template for that channel, for notifications that have a template.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["project", "category", "template"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project", "test", "category", "template"], name="window_of_project"
            ),
            models.CheckConstraint(
                name="window_is_for_one",
                condition=Q(category="", template__gt="") | Q(category__gt="", template=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.template or self.category} {self.begins:%H:%M}-{self.ends:%H:%M}"
