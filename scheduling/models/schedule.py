"""A schedule's policy and state, beside its django-celery-beat row; what changed; what is taken."""

from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django_celery_beat.models import PeriodicTask

from scheduling import rules
from scheduling.job_schema import NEEDS_OVERLAP, TOO_LONG_JITTER, InvalidJob
from scheduling.recurrence import ImpossibleSchedule, shortest_gap
from scheduling.rule_documents import recurrence_of as rule_recurrence
from scheduling.schedule_rows import recurrence_of
from scheduling.terms import (
    DAY_SECONDS,
    KEY_LENGTH,
    MISFIRE_CAP_LIMIT,
    Guarantee,
    Misfire,
    Overlap,
)


class Origin(models.TextChoices):
    """Who declared a schedule. Of the first two kinds a scheduler knows which are declared now."""

    BEAT_SCHEDULE = "beat_schedule", "beat_schedule"
    JOB = "job", "@jobs.job"
    REGISTER = "register", "jobs.register"
    UNKNOWN = "", "a person, or code before its origin was noted"


def refuse_long_jitter(
    seconds: int, task: PeriodicTask | None, own: dict[str, Any] | None = None
) -> None:
    """Raise ``ValidationError`` for a jitter that is not below the time between a task's fires.

    ``own`` is what is kept of a rule that the task's row only stands for.
    """
    if not seconds or task is None or task.scheduler is None:
        return
    now = datetime.now(UTC)
    try:
        rule = rules.own_rule(task, own)
        known = recurrence_of(task.scheduler, now) if rule is None else rule_recurrence(rule, now)
        gap = shortest_gap(known, now)
    except (ImpossibleSchedule, InvalidJob):
        return  # whoever made the rule is told so
    if gap is not None and seconds >= gap.total_seconds():
        raise ValidationError({"jitter_seconds": TOO_LONG_JITTER.format(gap.total_seconds())})


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

    misfire = models.CharField(max_length=8, choices=Misfire.choices, default=Misfire.LATEST)
    misfire_cap = models.PositiveIntegerField(
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(MISFIRE_CAP_LIMIT)],
        help_text="With 'all': how many of the newest missed due times are run.",
    )
    grace_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="A due time that is missed by more than this is not made up for. Empty: no limit "
        "(with 'skip': 30 seconds).",
    )
    overlap = models.CharField(max_length=8, choices=Overlap.choices, default=Overlap.ALLOW)
    jitter_seconds = models.PositiveIntegerField(
        default=0,
        validators=[MaxValueValidator(DAY_SECONDS)],
        help_text="Spread over this many seconds: each schedule has its own constant delay, "
        "below the time to its next fire.",
    )
    guarantee = models.CharField(
        max_length=16, choices=Guarantee.choices, default=Guarantee.AT_LEAST_ONCE
    )
    timeout_seconds = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    max_retries = models.PositiveSmallIntegerField(
        default=0, help_text="How often a failed run is tried again."
    )
    retry_backoff_seconds = models.PositiveIntegerField(
        default=10, help_text="Wait before the first retry; doubles with each, up to an hour."
    )
    retry = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="How a failed run is tried again, if not by a doubling wait; see retries.",
    )
    recurrence = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="A rule for which django-celery-beat has no table, and the row in its place.",
    )
    groups = models.JSONField(
        null=True, blank=True, editable=False, help_text="Names of the groups that it is in."
    )
    concurrency = models.PositiveIntegerField(
        default=1,
        db_default=1,
        validators=[MinValueValidator(1)],
        help_text="With overlap 'skip' or 'queue': how many runs may go on at once.",
    )
    concurrency_key = models.CharField(
        max_length=KEY_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text="Schedules with the same key share their runs at once. Empty: its own.",
    )
    unique_key = models.CharField(
        max_length=KEY_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text="Of all schedules with the same key, one run is let through per period.",
    )
    unique_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="The period of the unique key, from the run that was let through.",
    )
    pause_after = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Pause it after this many failed runs in a row. Empty: never.",
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
    namespace = models.CharField(
        max_length=60,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The project that it belongs to. Empty: none.",
    )
    origin = models.CharField(
        max_length=16,
        choices=Origin,
        blank=True,
        default=Origin.UNKNOWN,
        db_default=Origin.UNKNOWN.value,
        editable=False,
    )
    undeclared_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="When a scheduler started whose code no longer declares it. It still runs.",
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
    failed_in_a_row = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    skipped_in_a_row = models.PositiveIntegerField(default=0, db_default=0, editable=False)

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
            models.Index(
                fields=["failed_in_a_row"],
                condition=models.Q(failed_in_a_row__gt=0),
                name="scheduling_failing",
            ),
            models.Index(
                fields=["skipped_in_a_row"],
                condition=models.Q(skipped_in_a_row__gt=0),
                name="scheduling_skipping",
            ),
        ]

    CODE_FIELDS = ("retry", "groups", "recurrence")
    """What code and the API set, and no form."""
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
        "concurrency",
        "concurrency_key",
        "unique_key",
        "unique_seconds",
        "pause_after",
        "catch_up_on_resume",
        "condition",
    )

    def __str__(self) -> str:
        return f"schedule {self.pk}"

    def refuse_unknown_policy(self) -> None:
        """Raise ``ImpossibleSchedule`` for a policy that no code knows."""
        for field, known in (("misfire", Misfire), ("overlap", Overlap), ("guarantee", Guarantee)):
            if getattr(self, field) not in known.values:
                raise ImpossibleSchedule(
                    f"Its {field} policy must be one of: {', '.join(known.values)}."
                )

    def clean(self) -> None:
        """Refuse what does not go together, such as retries of what must run at most once."""
        if self.guarantee == Guarantee.AT_MOST_ONCE and self.max_retries:
            raise ValidationError(
                {"max_retries": "A run that may happen at most once is not tried again: set 0."}
            )
        if bool(self.unique_key) != bool(self.unique_seconds):
            field = "unique_seconds" if self.unique_key else "unique_key"
            raise ValidationError({field: "A unique key and its period go together."})
        if self.concurrency_key and self.overlap == Overlap.ALLOW:
            raise ValidationError({"concurrency_key": NEEDS_OVERLAP})
        task = getattr(self, "periodic_task", None)
        refuse_long_jitter(self.jitter_seconds, task, self.recurrence)


class Change(models.Model):
    """A schedule that changed, written by database triggers; a scheduler recomputes it."""

    periodic_task_id = models.BigIntegerField()
    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"change of periodic task {self.periodic_task_id}"


class UniqueRun(models.Model):
    """A unique key that has had its run of a period."""

    key = models.CharField(max_length=KEY_LENGTH, primary_key=True)
    taken_until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.key} until {self.taken_until.isoformat()}"
