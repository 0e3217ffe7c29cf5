"""A batch: notifications that were accepted together."""

from django.db import models
from django.db.models.functions import Now

from notifications.models.notification import new_id
from notifications.models.project import project_column


class Batch(models.Model):
    """Many notifications that can be watched, paused, resumed and cancelled as one.

    One that goes to an audience has an ``expansion``.
    """

    class State(models.TextChoices):
        ACTIVE = "active"
        PAUSED = "paused"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = project_column()
    test = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="Whether all its rows are tests."
    )
    name = models.CharField(max_length=255, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.ACTIVE)
    settled = models.BooleanField(
        default=True,
        help_text="Whether all its notifications have the state that was ordered last.",
    )
    accepted = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    duplicates = models.PositiveIntegerField(
        default=0, help_text="Rows whose idempotency key was used before."
    )
    blank = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Blank rows of the file, which were skipped."
    )
    errors = models.JSONField(
        default=list, help_text="The first refused rows: index, field, and what is wrong."
    )
    content_hash = models.CharField(
        max_length=32,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="A hash of the request, by which a repeated request is recognized.",
    )
    run = models.UUIDField(
        null=True,
        blank=True,
        editable=False,
        help_text="The id of the fire (the run of a schedule) that made the batch.",
    )
    closed_at = models.DateTimeField(
        null=True, blank=True, help_text="When its last row was accepted."
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "batches"
        indexes = [
            models.Index(fields=["id"], name="batch_unsettled", condition=models.Q(settled=False)),
            # An id that follows from what asked for the batch says nothing of its age.
            models.Index(fields=["project", "created_at", "id"], name="batch_of_project"),
        ]

    def __str__(self) -> str:
        return self.name or str(self.id)
