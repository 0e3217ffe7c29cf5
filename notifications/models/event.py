"""Events, the rules that say what follows from them, and what did."""

import re
from typing import ClassVar
from uuid import UUID

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from notifications.core import routing
from notifications.core.world import World
from notifications.models.notification import new_id
from notifications.models.preference import LONGEST_CATEGORY
from notifications.models.project import project_column

EVENT_NAME = r"^[A-Za-z0-9]+([._:-][A-Za-z0-9]+)*\Z"
EVENT_NAME_HINT = "Use letters, digits, and . _ : - between them, like payment.settled."
LONGEST_EVENT_NAME = 100
LONGEST_NAME = 100  # characters of a rule's name
LONGEST_EXPRESSION = 500  # characters
LONGEST_DELAY = 3650 * 86400  # seconds
LONGEST_MATCH = 255  # characters


def is_event_name(name: str) -> bool:
    """Tell whether an event may have this name."""
    return len(name) <= LONGEST_EVENT_NAME and re.match(EVENT_NAME, name) is not None


class EventRule(models.Model):
    """What is sent when an event comes: which template, to whom, when, and what cancels it.

    The expressions are CEL over ``data``, the event's data. Every way in checks a rule by
    ``events.rules.check``.
    """

    project = project_column(editable=True)
    test = models.BooleanField(
        default=False, db_default=False, help_text="Only test events trigger the rule."
    )
    name = models.CharField(max_length=LONGEST_NAME)
    enabled = models.BooleanField(
        default=True, help_text="If it is off, no event triggers the rule."
    )
    event = models.CharField(
        max_length=LONGEST_EVENT_NAME,
        validators=[RegexValidator(EVENT_NAME, EVENT_NAME_HINT)],
        help_text="The name of the event, like invoice.issued.",
    )
    condition = models.CharField(
        max_length=LONGEST_EXPRESSION,
        blank=True,
        help_text="An expression that must be true, like data.amount > 100. Empty: always.",
    )
    channel = models.CharField(max_length=20, choices=[(c, c) for c in routing.CHANNELS])
    recipients = models.CharField(
        max_length=LONGEST_EXPRESSION,
        blank=True,
        help_text="An expression for one address or a list, like data.customer.email.",
    )
    to = models.CharField(
        max_length=LONGEST_EXPRESSION,
        blank=True,
        default="",
        db_default="",
        help_text="Instead of addresses: an expression for the id of a stored recipient, or a "
        "list, like data.customer.id.",
    )
    category = models.CharField(
        max_length=LONGEST_CATEGORY,
        blank=True,
        default="",
        db_default="",
        help_text="The category as which recipients can refuse it, like billing.",
    )
    template = models.CharField(max_length=100, help_text="The name of a published template.")
    context: "models.JSONField[dict[str, str]]" = models.JSONField(
        default=dict,
        blank=True,
        help_text="An expression for each of the template's variables. Empty: the data itself.",
    )
    delay = models.PositiveIntegerField(default=0, help_text="Seconds from the event to the send.")
    priority = models.CharField(
        max_length=10,
        choices=[(p, p) for p in routing.PRIORITIES],
        default=routing.DEFAULT_PRIORITY,
    )
    cancel_on = models.CharField(
        max_length=LONGEST_EVENT_NAME,
        blank=True,
        validators=[RegexValidator(EVENT_NAME, EVENT_NAME_HINT)],
        help_text="The name of the event that cancels what is not sent yet.",
    )
    match = models.CharField(
        max_length=LONGEST_EXPRESSION,
        blank=True,
        help_text="An expression whose value says what is cancelled, like data.invoice.",
    )
    cancel_match = models.CharField(
        max_length=LONGEST_EXPRESSION,
        blank=True,
        help_text="The same for the cancelling event's data. Empty: the same expression.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["project", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project", "test", "name"], name="event_rule_of_project"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["project", "event"], name="event_rule_event"),
            models.Index(
                fields=["project", "cancel_on"],
                name="event_rule_cancels",
                condition=~Q(cancel_on=""),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Event(models.Model):
    """Something that happened, as another system told it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = project_column()
    test = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="The notifications that it causes are tests.",
    )
    name = models.CharField(max_length=LONGEST_EVENT_NAME)
    key = models.CharField(
        max_length=255, blank=True, help_text="A second event with the same key is the same event."
    )
    data = models.JSONField(default=dict, blank=True)
    content_hash = models.CharField(max_length=32, editable=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project", "test", "key"],
                name="event_key_of_project",
                condition=~Q(key=""),
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["project", "created_at", "id"], name="event_of_project"),
            models.Index(fields=["created_at"], name="event_age"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"

    @property
    def world(self) -> World:
        """Whose it is, and whether it is a test."""
        return World(self.project, self.test)


class EventEffect(models.Model):
    """What one rule made of an event for one recipient, and what cancelled that."""

    class Outcome(models.TextChoices):
        CAUSED = "caused"  # a notification
        UNMET = "unmet"  # the condition was false
        REFUSED = "refused"  # an expression, or the notification, had a fault

    class Cancellation(models.TextChoices):
        CANCELLED = "cancelled"  # before a worker had it
        TOO_LATE = "too_late"  # a worker was sending it: it is not tried again

    event_id: UUID
    rule_id: int | None
    cancelled_by_id: UUID | None

    event = models.ForeignKey(Event, models.CASCADE, related_name="effects")
    rule = models.ForeignKey(EventRule, models.SET_NULL, null=True, related_name="+")
    rule_name = models.CharField(max_length=100, help_text="The rule's name at that time.")
    outcome = models.CharField(max_length=7, choices=Outcome.choices)
    # No foreign key: the row stays when the notification leaves for the archive.
    notification_id = models.UUIDField(null=True)
    field = models.CharField(max_length=255, blank=True, help_text="What had the fault.")
    detail = models.TextField(blank=True)
    match = models.CharField(max_length=LONGEST_MATCH, blank=True)
    cancelled_by = models.ForeignKey(
        Event, models.SET_NULL, null=True, related_name="cancellations", db_index=False
    )
    cancellation = models.CharField(max_length=9, choices=Cancellation.choices, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["rule", "match"],
                name="event_effect_open",
                condition=Q(outcome="caused", cancellation="") & ~Q(match=""),
            ),
            models.Index(
                fields=["notification_id"],
                name="event_effect_notification",
                condition=Q(notification_id__isnull=False),
            ),
            models.Index(
                fields=["cancelled_by"],
                name="event_effect_cancelled_by",
                condition=Q(cancelled_by__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rule_name}: {self.outcome}"
