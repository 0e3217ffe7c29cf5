"""What the scheduler remembers: policy and state of a schedule, and a ledger of its fires.

A *schedule* is a django-celery-beat ``PeriodicTask``; people create and pause it there. The tables
here stand beside it and belong to the schedulers.
"""

from datetime import timedelta

import uuid_utils.compat as uuid_utils
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django_celery_beat.models import PeriodicTask

from scheduling.recurrence import ImpossibleScheduleError
from scheduling.timetable import shortest_gap

DAY_SECONDS = 24 * 60 * 60


class Misfire(models.TextChoices):
    """What becomes of due times that passed while no scheduler ran."""

    LATEST = "latest", "run the latest one"
    SKIP = "skip", "skip them"
    ALL = "all", "run all of them, up to the cap"


class Overlap(models.TextChoices):
    """What becomes of a fire that is due while the one before it is still running."""

    ALLOW = "allow", "run both"
    SKIP = "skip", "skip the new one"
    QUEUE = "queue", "let one wait"


class Guarantee(models.TextChoices):
    """What a crash between "publish" and "published" may cost."""

    AT_LEAST_ONCE = "at_least_once", "at least once"
    AT_MOST_ONCE = "at_most_once", "at most once"


class Schedule(models.Model):
    """Policy and state of one ``PeriodicTask``; the schedulers make a row for each of them.

    The policy is a person's to edit. The state changes only in ``claims``, ``changes`` and
    ``execution``.
    """

    periodic_task = models.OneToOneField(
        PeriodicTask,
        primary_key=True,
        on_delete=models.CASCADE,
        # A trigger removes this row with its task, whichever way the task is deleted.
        db_constraint=False,
        related_name="firing",
    )

    misfire = models.CharField(max_length=8, choices=Misfire, default=Misfire.LATEST)
    misfire_cap = models.PositiveIntegerField(
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="With 'all': how many of the newest missed due times are run.",
    )
    grace_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="A due time later than this is missed for good. Empty: however late "
        "(with 'skip': 30 seconds).",
    )
    overlap = models.CharField(max_length=8, choices=Overlap, default=Overlap.ALLOW)
    jitter_seconds = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(DAY_SECONDS)],
        help_text="Spread over this many seconds: each schedule has its own constant delay, "
        "below the time to its next fire.",
    )
    guarantee = models.CharField(max_length=16, choices=Guarantee, default=Guarantee.AT_LEAST_ONCE)
    timeout_seconds = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    max_retries = models.PositiveSmallIntegerField(
        default=0, help_text="How often a failed run is tried again."
    )
    retry_backoff_seconds = models.PositiveIntegerField(
        default=10, help_text="Wait before the first retry; doubles with each, up to an hour."
    )
    catch_up_on_resume = models.BooleanField(
        default=False,
        help_text="On resume, treat what was due during the pause as missed (by misfire policy).",
    )
    condition = models.CharField(
        max_length=100,
        blank=True,
        default="",
        help_text="A registered predicate, asked at fire time; its 'no' is recorded as skipped.",
    )
    definition = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="The definition that code last registered; tells its changes from a person's.",
    )

    next_fire_at = models.DateTimeField(null=True, editable=False)
    answered_until = models.DateTimeField(
        null=True,
        editable=False,
        help_text="Due times up to here have been answered; the next one is counted from here.",
    )
    rule = models.TextField(
        blank=True,
        default="",
        editable=False,
        help_text="The rule that next_fire_at was computed from; a changed rule counts anew.",
    )
    paused_at = models.DateTimeField(null=True, editable=False)
    quarantined_at = models.DateTimeField(null=True, editable=False)
    quarantine_reason = models.TextField(blank=True, default="", editable=False)

    class Meta:
        verbose_name = "schedule policy"
        verbose_name_plural = "schedule policies"
        indexes = [
            models.Index(
                fields=["next_fire_at"],
                condition=models.Q(next_fire_at__isnull=False),
                name="scheduling_next_fire",
            ),
            models.Index(
                fields=["quarantined_at"],
                condition=models.Q(quarantined_at__isnull=False),
                name="scheduling_quarantined",
            ),
        ]

    POLICY_FIELDS = (
        "misfire",
        "misfire_cap",
        "grace_seconds",
        "overlap",
        "jitter_seconds",
        "guarantee",
        "timeout_seconds",
        "max_retries",
        "retry_backoff_seconds",
        "catch_up_on_resume",
        "condition",
    )

    def __str__(self) -> str:
        return f"schedule {self.pk}"

    def clean(self) -> None:
        """Refuse retries of what must run at most once, and jitter that reaches the next fire."""
        if self.guarantee == Guarantee.AT_MOST_ONCE and self.max_retries:
            raise ValidationError(
                {"max_retries": "A run that may happen at most once is not tried again: set 0."}
            )
        gap = self._shortest_gap() if self.jitter_seconds else None
        if gap is not None and self.jitter_seconds >= gap.total_seconds():
            raise ValidationError(
                {
                    "jitter_seconds": "It must be below the time from one fire to the next, "
                    f"which is {gap.total_seconds():g} seconds."
                }
            )

    def _shortest_gap(self) -> timedelta | None:
        task: PeriodicTask | None = getattr(self, "periodic_task", None)
        if task is None or task.scheduler is None:
            return None
        try:
            return shortest_gap(task.scheduler)
        except ImpossibleScheduleError:
            return None  # whoever made the rule is told so


class FireStatus(models.TextChoices):
    """Where a fire stands, and who moves it on.

    ``due_at`` says when a scheduler must look at an unfinished fire again.
    """

    WAITING = "waiting", "waits for the run before it"  # moved on by that run's end
    CLAIMED = "claimed", "claimed, to be published"  # moved on by a scheduler
    DISPATCHED = "dispatched", "published"  # moved on by a worker; published again if lost
    RUNNING = "running", "running"  # moved on by its worker; by a scheduler if that died
    SUCCEEDED = "succeeded", "succeeded"
    FAILED = "failed", "failed"
    LOST = "lost", "lost: outcome unknown, not repeated"
    HANDED_OVER = "handed_over", "published; a run outside this project is not followed"
    SKIPPED_MISFIRE = "skipped_misfire", "skipped: too late"
    SKIPPED_OVERLAP = "skipped_overlap", "skipped: the one before still ran"
    SKIPPED_EXPIRED = "skipped_expired", "skipped: no worker took it in time"
    CANCELLED = "cancelled", "cancelled"
    SKIPPED_CONDITION = "skipped_condition", "skipped: its condition said no"


UNFINISHED = (
    FireStatus.WAITING,
    FireStatus.CLAIMED,
    FireStatus.DISPATCHED,
    FireStatus.RUNNING,
)


class Fire(models.Model):
    """One due time of one schedule, and what became of it. Its id is the Celery task id."""

    id = models.UUIDField(primary_key=True, default=uuid_utils.uuid7, editable=False)
    schedule = models.ForeignKey(
        Schedule, on_delete=models.CASCADE, db_constraint=False, db_index=False
    )
    scheduled_for = models.DateTimeField(help_text="The nominal due time, without jitter.")
    fire_at = models.DateTimeField(help_text="When it should fire: the due time with its jitter.")
    status = models.CharField(max_length=20, choices=FireStatus, default=FireStatus.CLAIMED)
    due_at = models.DateTimeField(
        null=True, help_text="When a scheduler must look at this fire again."
    )
    by_hand = models.BooleanField(default=False, help_text="Asked for by 'run now'.")
    missed_since = models.DateTimeField(
        null=True, help_text="The first missed due time that this fire stands for, too."
    )
    attempt = models.PositiveSmallIntegerField(default=0)
    publishes = models.PositiveSmallIntegerField(default=0)
    dispatched_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    worker = models.CharField(max_length=200, blank=True, default="")
    error = models.TextField(blank=True, default="")

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
        ]

    def __str__(self) -> str:
        return f"fire {self.id} for {self.scheduled_for.isoformat()}: {self.status}"

    @property
    def lateness(self) -> float | None:
        """Seconds from the moment it should have fired to its first dispatch."""
        if self.dispatched_at is None:
            return None
        return (self.dispatched_at - self.fire_at).total_seconds()


class Change(models.Model):
    """A schedule that changed, written by database triggers; a scheduler recomputes it."""

    periodic_task_id = models.BigIntegerField()
    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"change of periodic task {self.periodic_task_id}"


class SchedulerProcess(models.Model):
    """A scheduler that was seen alive; status counts those seen lately."""

    name = models.CharField(max_length=200, primary_key=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class Lease(models.Model):
    """A named lease of the ``database`` provider."""

    name = models.CharField(max_length=100, primary_key=True)
    owner = models.CharField(max_length=200)
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} held by {self.owner}"
