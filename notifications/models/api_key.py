"""Keys to the HTTP API."""

from datetime import datetime

from django.db import models
from django.db.models.functions import Now

from notifications.core.world import World
from notifications.models.project import project_column


class ApiKey(models.Model):
    """Who may call the API, and for what. The secret itself is not kept, only its hash."""

    class Kind(models.TextChoices):
        LIVE = "live"
        TEST = "test"  # everything goes to the simulator, on the real path

    class Scope(models.TextChoices):
        SEND = "send"  # create and cancel notifications and batches
        READ = "read"  # look at everything
        MANAGE = "manage"  # jobs, templates and suppressions
        REPLAY = "replay"  # replay and discard failed deliveries

    name = models.CharField(max_length=100, help_text="The program or team that uses the key.")
    project = project_column(editable=True)
    kind = models.CharField(max_length=4, choices=Kind.choices, default=Kind.LIVE)
    prefix = models.CharField(
        max_length=12,
        unique=True,
        editable=False,
        help_text="The public part of the key, by which it is recognized.",
    )
    secret_hash = models.CharField(max_length=64, editable=False)
    scopes: "models.JSONField[list[str]]" = models.JSONField(default=list)
    rate = models.PositiveIntegerField(
        null=True, blank=True, help_text="Requests per second. Empty: the default."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Exact to the minute."
    )
    replaced_by = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, editable=False, related_name="replaces"
    )

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    @property
    def world(self) -> World:
        """What it sees and touches, and nothing else."""
        return World(self.project, self.kind == self.Kind.TEST)

    def is_valid(self, now: datetime) -> bool:
        """Return whether it is valid at ``now``."""
        return self.expires_at is None or now < self.expires_at
