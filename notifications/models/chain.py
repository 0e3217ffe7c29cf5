"""Chains: one message by several ways, one after the other, until one reaches; and their runs."""

from typing import Any, ClassVar
from uuid import UUID

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from notifications.core.chains import StopOn
from notifications.core.world import World
from notifications.models.notification import new_id
from notifications.models.project import project_column

CHAIN_NAME = r"^[a-z0-9]+([._-][a-z0-9]+)*\Z"
CHAIN_NAME_HINT = "Use lower-case letters, digits, and . _ - between them, like one-time-code."
LONGEST_CHAIN_NAME = 100
LONGEST_FAMILY = 80  # characters of a family of templates

STOPS = [(stop.value, stop.value) for stop in StopOn]


class Chain(models.Model):
    """The steps of an escalation, as data. ``chains.definitions`` checks it."""

    project = project_column(editable=True)
    test = models.BooleanField(
        default=False, db_default=False, editable=False, help_text="It belongs to tests only."
    )
    name = models.CharField(
        max_length=LONGEST_CHAIN_NAME, validators=[RegexValidator(CHAIN_NAME, CHAIN_NAME_HINT)]
    )
    steps: "models.JSONField[list[dict[str, Any]]]" = models.JSONField(
        help_text='In their order: [{"channel": "push", "wait": 120}, {"channel": "sms"}]. '
        "wait: seconds until the next step."
    )
    stop_on = models.CharField(
        max_length=10,
        choices=STOPS,
        default=StopOn.DELIVERED.value,
        help_text="How far a step must get so that no further step is sent.",
    )
    template = models.CharField(
        max_length=LONGEST_FAMILY,
        blank=True,
        help_text="The first part of the templates' names: a step without a template uses "
        "FAMILY.CHANNEL, like one-time-code.sms.",
    )
    expires = models.PositiveIntegerField(
        null=True, blank=True, help_text="Seconds from the start after which no step is sent."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["project", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "test", "name"], name="chain_of_project")
        ]

    def __str__(self) -> str:
        return self.name


class ChainRun(models.Model):
    """One use of a chain: its notifications say which step they are.

    ``waits`` holds the seconds until the next step, by step. ``going`` is the latest step that was
    let through, ``going_at`` when that was first: the next one waits from then.
    """

    id: "models.UUIDField[UUID, UUID]" = models.UUIDField(
        primary_key=True, default=new_id, editable=False
    )
    project = project_column()
    test = models.BooleanField(default=False, db_default=False, editable=False)
    chain = models.CharField(
        max_length=LONGEST_CHAIN_NAME, blank=True, help_text="Empty: a chain without a name."
    )
    stop_on = models.CharField(max_length=10, choices=STOPS)
    waits: "models.JSONField[list[float]]" = models.JSONField(default=list)
    skipped: "models.JSONField[list[dict[str, Any]]]" = models.JSONField(
        default=list, help_text="Steps for which the recipient has no address."
    )
    going = models.PositiveSmallIntegerField(null=True, blank=True)
    going_at = models.DateTimeField(null=True, blank=True)
    recipient_key = models.CharField(max_length=255, blank=True)
    idempotency_key = models.CharField(max_length=255, blank=True)
    content_hash = models.CharField(max_length=32, editable=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["project", "test", "idempotency_key"],
                name="chain_run_key_of_project",
                condition=~Q(idempotency_key=""),
            )
        ]
        indexes: ClassVar = [models.Index(fields=["created_at"], name="chain_run_age")]

    def __str__(self) -> str:
        return f"{self.chain or 'chain'} {self.id}"

    @property
    def world(self) -> World:
        """Whose it is, and whether it is a test."""
        return World(self.project, self.test)
