"""Who must not be written to."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from notifications.core import reasons, routing
from notifications.models.notification import Notification
from notifications.models.project import project_column


class Suppression(models.Model):
    """A recipient that a channel must not reach: why, since when, and by what.

    It holds until it is lifted; lifted ones stay as history.
    """

    class Reason(models.TextChoices):
        HARD_BOUNCE = reasons.Reason.HARD_BOUNCE.value
        INVALID_TOKEN = reasons.Reason.INVALID_TOKEN.value
        ENDPOINT_GONE = reasons.Reason.ENDPOINT_GONE.value
        COMPLAINT = reasons.Reason.COMPLAINT.value
        UNSUBSCRIBED = reasons.Reason.UNSUBSCRIBED.value
        OPERATOR = reasons.Reason.OPERATOR.value

    class Scope(models.TextChoices):
        EVERYTHING = "everything"
        MARKETING = "marketing"  # only templates of that category are held back

    project = project_column()
    test = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="It applies to tests only."
    )
    channel = models.CharField(max_length=20, choices=[(c, c) for c in routing.CHANNELS])
    recipient = models.TextField(
        help_text="The address, in the form in which addresses are compared."
    )
    scope = models.CharField(max_length=10, choices=Scope.choices, default=Scope.EVERYTHING)
    reason = models.CharField(max_length=15, choices=Reason.choices, default=Reason.OPERATOR)
    source = models.CharField(
        max_length=50, blank=True, help_text="The provider account or page that it came from."
    )
    account = models.CharField(
        max_length=50,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="Of STOP by SMS the account that got it: each holds until START to the same one.",
    )
    detail = models.TextField(blank=True)
    notification = models.ForeignKey(
        Notification, models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now())
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project", "test", "channel", "recipient", "scope", "account"],
                name="suppression_of_account",
                condition=Q(lifted_at__isnull=True),
            )
        ]
        indexes: ClassVar = [
            # For the foreign key: a notification that leaves asks who points at it.
            models.Index(
                fields=["notification"],
                name="suppression_notification",
                condition=Q(notification__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.reason}"
