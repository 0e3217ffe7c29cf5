"""The ledger of fires: each due time of a schedule, and what became of it."""

import uuid_utils.compat as uuid_utils
from django.db import models

from scheduling.masking import without_addresses
from scheduling.models.schedule import Schedule
from scheduling.terms import NOTE_LENGTH, FireStatus


class Fire(models.Model):
    """One due time of one schedule, and what became of it. Its id is the Celery task id."""

    id = models.UUIDField(primary_key=True, default=uuid_utils.uuid7, editable=False)
    schedule = models.ForeignKey(
        Schedule, on_delete=models.CASCADE, db_constraint=False, db_index=False
    )
    scheduled_for = models.DateTimeField(help_text="The nominal due time, without jitter.")
    fire_at = models.DateTimeField(help_text="When it should fire: the due time with its jitter.")
    status = models.CharField(max_length=20, choices=FireStatus.choices, default=FireStatus.CLAIMED)
    due_at = models.DateTimeField(
        null=True, help_text="When a scheduler must look at this fire again."
    )
    by_hand = models.BooleanField(default=False, help_text="Started by 'run now'.")
    missed_since = models.DateTimeField(
        null=True, help_text="The first missed due time that this fire stands for, too."
    )
    note = models.CharField(
        max_length=NOTE_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text="The holiday that left it out or moved it, or the unique key that was taken.",
    )
    attempt = models.PositiveSmallIntegerField(default=0)
    publishes = models.PositiveSmallIntegerField(default=0)
    dispatched_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    worker = models.CharField(max_length=200, blank=True, default="")
    error = models.TextField(blank=True, default="")

    call = models.JSONField(
        null=True,
        editable=False,
        help_text="What it calls, and in which queue, where its schedule stands for many calls.",
    )

    # Of a run that failed; a fire is inserted without them.
    history = models.JSONField(null=True, help_text="The attempts that failed, oldest first.")
    cause = models.CharField(
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="The cause: the same for errors that differ only in ids and numbers.",
    )
    resolved_at = models.DateTimeField(
        null=True, help_text="When somebody replayed or discarded this failed run."
    )
    resolution = models.CharField(max_length=255, blank=True, default="", db_default="")
    replayed_as = models.UUIDField(null=True)

    FAILURE_FIELDS = ("history", "cause", "resolved_at", "resolution", "replayed_as")
    OWN_FIELDS = ("call",)
    """Of a fire that no due time made."""

    class Meta:
        ordering = ["-scheduled_for"]
        constraints = [
            models.UniqueConstraint(
                fields=["schedule", "scheduled_for"], name="scheduling_one_fire_per_due_time"
            )
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=models.Q(due_at__isnull=False),
                name="scheduling_fire_due",
            ),
            models.Index(
                fields=["schedule", "status"],
                condition=models.Q(finished_at__isnull=True),
                name="scheduling_fire_unfinished",
            ),
            models.Index(fields=["scheduled_for"], name="scheduling_fire_retention"),
            models.Index(
                fields=["cause", "finished_at"],
                condition=~models.Q(cause="") & models.Q(resolved_at__isnull=True),
                name="scheduling_fire_failed",
            ),
        ]

    def __str__(self) -> str:
        return f"fire {self.id} for {self.scheduled_for.isoformat()}: {self.status}"

    @property
    def said(self) -> str:
        """Its error without addresses, for eyes that need not see whom it was about."""
        return without_addresses(self.error)

    @property
    def lateness(self) -> float | None:
        """Seconds from the moment it should have fired to its first dispatch."""
        if self.dispatched_at is None:
            return None
        return (self.dispatched_at - self.fire_at).total_seconds()
