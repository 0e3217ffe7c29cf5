"""Digests: several notifications of one recipient that go as one notification."""

from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from notifications.models.preference import LONGEST_CATEGORY
from notifications.models.project import project_column

LONGEST_DIGEST_KEY = 100
LONGEST_VERSION = 19  # digits of its primary key
LONGEST_ACCOUNT = 50
LONGEST_IDENTITY = (
    LONGEST_CATEGORY + LONGEST_VERSION + len("@50:") + LONGEST_ACCOUNT + 2 + LONGEST_DIGEST_KEY
)


class Digest(models.Model):
    """What collects notifications under a key until its end. Its notification has its id.

    It is open until that notification is rendered. Then ``merged`` says how many have joined it.
    """

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(primary_key=True, editable=False)
    project = project_column()
    test = models.BooleanField(default=False, db_default=False, editable=False)
    channel = models.CharField(max_length=20)
    recipient_key = models.CharField(max_length=255, blank=True)
    recipient = models.TextField(
        blank=True, help_text="The address of a recipient who is not stored."
    )
    # Category, version and account are parts of it rather than columns, which the unique constraint
    # would need: what ran before an update could open no digest under another constraint.
    key = models.CharField(
        max_length=LONGEST_IDENTITY,
        help_text="Category, version of the digest's template, account, and key of what joins it.",
    )
    limit = models.SmallIntegerField(help_text="How many items the template gets at most.")
    opened_at = models.DateTimeField(db_default=Now())
    joined_at = models.DateTimeField(db_default=Now(), help_text="When the last one joined.")
    closed_at = models.DateTimeField(null=True, blank=True)
    merged = models.IntegerField(default=0, db_default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project", "test", "channel", "recipient_key", "recipient", "key"],
                name="digest_open",
                condition=Q(closed_at__isnull=True),
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=[
                    *("project", "test", "channel", "recipient_key", "recipient", "key"),
                    "closed_at",
                ],
                name="digest_closed",
                condition=Q(closed_at__isnull=False),
            ),
            models.Index(
                fields=["closed_at"], name="digest_age", condition=Q(closed_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"digest {self.id}"
