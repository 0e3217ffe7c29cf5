"""Audiences: saved filters over recipients, and the batches that are sent to them."""

from typing import Any, ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from notifications.core.world import World
from notifications.models.batch import Batch
from notifications.models.preference import CATEGORY, CATEGORY_HINT, LONGEST_CATEGORY
from notifications.models.project import project_column


class Audience(models.Model):
    """A filter over the stored recipients of a project, under a name.

    Every way in checks it by ``audiences.saved``.
    """

    project = project_column(editable=True)
    test = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="It belongs to tests only."
    )
    name = models.CharField(
        max_length=LONGEST_CATEGORY, validators=[RegexValidator(CATEGORY, CATEGORY_HINT)]
    )
    description = models.CharField(max_length=500, blank=True)
    filter: "models.JSONField[dict[str, Any]]" = models.JSONField(
        help_text='Like {"field": "attributes.plan", "op": "eq", "value": "gold"}; several inside '
        '{"and": […]}, {"or": […]} and {"not": …}.'
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["project", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "test", "name"], name="audience_of_project")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def world(self) -> World:
        """Whose it is, and whether it is of the tests."""
        return World(self.project, self.test)


class Expansion(models.Model):
    """A batch that goes to an audience: who is in it was written down as it began.

    ``audiences.expansion`` makes it and works it off, chunk by chunk.
    """

    batch = models.OneToOneField(Batch, models.CASCADE, primary_key=True, related_name="expansion")
    audience = models.CharField(max_length=LONGEST_CATEGORY, help_text="The audience's name.")
    filter: "models.JSONField[dict[str, Any]]" = models.JSONField(help_text="As it was then.")
    fields: "models.JSONField[dict[str, Any]]" = models.JSONField(
        default=dict, help_text="What all rows share; emptied when the last one is accepted."
    )
    variables: "models.JSONField[dict[str, Any]]" = models.JSONField(
        default=dict, help_text="The template's variables, and which attributes fill them."
    )
    matched = models.PositiveIntegerField(help_text="How many recipients matched.")
    reasons: "models.JSONField[dict[str, int]]" = models.JSONField(
        default=dict, help_text="Why rows were refused or not sent to, with how many."
    )
    frozen_at = models.DateTimeField(help_text="The moment whose recipients it has.")
    finished_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(
                fields=["batch"],
                name="expansion_unfinished",
                condition=models.Q(finished_at__isnull=True),
            )
        ]

    def __str__(self) -> str:
        return self.audience

    @property
    def left(self) -> int:
        """How many recipients have no answer yet."""
        return 0 if self._is_cancelled else self._unanswered

    @property
    def cancelled(self) -> int:
        """How many recipients never get an answer, as the batch was cancelled first."""
        return self._unanswered if self._is_cancelled else 0

    @property
    def _is_cancelled(self) -> bool:
        return self.batch.state == Batch.State.CANCELLED

    @property
    def _unanswered(self) -> int:
        answered = self.batch.accepted + self.batch.refused + self.batch.duplicates
        return max(self.matched - answered, 0)


class ExpansionChunk(models.Model):
    """Some recipients of a batch to an audience whose rows are not written yet."""

    expansion = models.ForeignKey(Expansion, models.CASCADE, related_name="chunks", db_index=False)
    first = models.PositiveIntegerField(
        help_text="The place of its first recipient among those of the batch, from 0."
    )
    members: "models.JSONField[list[int]]" = models.JSONField(
        help_text="The primary keys of recipients."
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["expansion", "first"], name="expansion_chunk_once")
        ]

    def __str__(self) -> str:
        return f"from {self.first}"
