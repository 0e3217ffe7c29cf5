"""What recipients choose: the categories of notifications, and the history of their consent."""

import re
from typing import ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from notifications.models.project import project_column
from notifications.models.recipient import Recipient

CATEGORY = r"^[a-z0-9]+([._-][a-z0-9]+)*\Z"
CATEGORY_HINT = "Use lower-case letters, digits, and . _ - between them, like weekly-report."
LONGEST_CATEGORY = 50


def is_category_name(text: str) -> bool:
    """Tell whether a category may have this name."""
    return len(text) <= LONGEST_CATEGORY and re.match(CATEGORY, text) is not None


class Category(models.Model):
    """A kind of notification that recipients refuse or agree to; a project's own.

    ``recipients.categories`` has those that every project has without a row; a row of that name
    takes the place of one.
    """

    project = project_column(editable=True)
    test = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="It belongs to tests only."
    )
    name = models.CharField(
        max_length=LONGEST_CATEGORY, validators=[RegexValidator(CATEGORY, CATEGORY_HINT)]
    )
    title = models.CharField(
        max_length=100, blank=True, help_text="What recipients read on the page of preferences."
    )
    description = models.CharField(
        max_length=500, blank=True, help_text="What they get, in a sentence."
    )
    required = models.BooleanField(default=False, help_text="It cannot be refused.")
    default = models.BooleanField(
        default=True,
        help_text="It is sent to recipients who have chosen nothing. Off: they have to agree "
        "first.",
    )
    channel_defaults: "models.JSONField[dict[str, bool]]" = models.JSONField(
        default=dict,
        blank=True,
        help_text='Channels with another default: {"sms": false}.',
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["project", "name"]
        verbose_name_plural = "categories"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "test", "name"], name="category_of_project")
        ]

    def __str__(self) -> str:
        return self.name


class Consent(models.Model):
    """One change of what a recipient has chosen: what, when, how, and which text they saw.

    The history is only added to. What holds now is ``Recipient.choices``.
    """

    class Means(models.TextChoices):
        PAGE = "page"  # the hosted page of preferences
        UNSUBSCRIBE = "unsubscribe"  # the link or the header of a message
        SMS = "sms"  # an answer like STOP
        COMPLAINT = "complaint"  # what a provider or a mailbox reports
        API = "api"
        ADMIN = "admin"

    recipient = models.ForeignKey(
        Recipient, models.CASCADE, related_name="consents", db_index=False
    )
    category = models.CharField(
        max_length=LONGEST_CATEGORY, blank=True, help_text="Empty: all that can be refused."
    )
    channel = models.CharField(max_length=20, blank=True, help_text="Empty: every channel.")
    granted = models.BooleanField(
        null=True, help_text="Agreed, or refused. Unknown: the default holds again."
    )
    means = models.CharField(max_length=11, choices=Means.choices)
    source = models.CharField(
        max_length=100, blank=True, help_text="The API key, account or person that made the change."
    )
    text = models.TextField(
        blank=True, help_text="The text that they read when they chose, or that they wrote."
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["recipient", "id"], name="consent_of_recipient"),
        ]

    def __str__(self) -> str:
        return f"{self.category or 'everything'}: {self.granted}"
