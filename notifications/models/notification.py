"""A notification and its attempts."""

from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower, Now
from uuid_utils.compat import uuid7

from notifications.core import retry, routing
from notifications.core.attempt import Result
from notifications.core.world import World
from notifications.models.project import project_column


def new_id() -> UUID:
    """Make a time-ordered id (UUID version 7, RFC 9562), so that new rows land together."""
    return uuid7()


class Status(models.TextChoices):
    """Each state's meaning, with who moves it on."""

    SCHEDULED = "scheduled"  # due later: the sweep, when due_at passes
    QUEUED = "queued"  # on its way to a worker: the worker's claim, or the sweep
    SENDING = "sending"  # leased by a worker: outcomes.record, or the sweep if the worker died
    SENT = "sent"  # the provider took it: a receipt
    DELIVERED = "delivered"  # final: the recipient has it
    FAILED = "failed"  # final: dead-lettered, can be replayed
    CANCELLED = "cancelled"  # final: somebody called it off in time
    EXPIRED = "expired"  # final: it would have been stale
    SUPPRESSED = "suppressed"  # final: the recipient must not be written to
    MERGED = "merged"  # final: it goes with a digest


WAITING = (Status.SCHEDULED, Status.QUEUED)
UNFINISHED = (Status.SCHEDULED, Status.QUEUED, Status.SENDING)


class NotificationRecord(models.Model):
    """One message to one recipient over one channel: what is known of it in whichever table."""

    batch_id: UUID | None
    replay_of_id: UUID | None

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = project_column()
    channel = models.CharField(max_length=20, choices=[(c, c) for c in routing.CHANNELS])
    priority = models.CharField(max_length=10, choices=[(p, p) for p in routing.PRIORITIES])
    recipient = models.TextField()
    template_version = models.ForeignKey(
        "templates_engine.TemplateVersion",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,
    )
    locale = models.CharField(max_length=35, blank=True)
    context = models.JSONField(default=dict, blank=True)
    subject = models.TextField(blank=True)
    body = models.TextField(blank=True)
    guarantee = models.CharField(
        max_length=15,
        choices=[(g.value, g.value) for g in retry.Guarantee],
        default=retry.Guarantee.AT_LEAST_ONCE.value,
    )
    retry = models.JSONField(
        null=True, blank=True, help_text="Values that differ from the priority's retry policy."
    )
    reference = models.CharField(max_length=255, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    idempotency_key = models.CharField(max_length=255, blank=True)
    content_hash = models.CharField(max_length=32, blank=True, editable=False)
    test = models.BooleanField(
        default=False, db_default=False, help_text="A test: only the simulator gets it."
    )
    request_id = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The HTTP request that asked for it.",
    )
    traceparent = models.CharField(
        max_length=55,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The span that asked for it (W3C Trace Context).",
    )
    callback_url = models.CharField(
        max_length=2000,
        blank=True,
        default="",
        db_default="",
        help_text="The URL to which its final state is reported.",
    )
    options = models.JSONField(
        null=True, blank=True, help_text="Options for the provider, beside the content."
    )
    recipient_key = models.CharField(
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text="The id of the stored recipient that it was addressed to.",
    )
    category = models.CharField(
        max_length=50,
        blank=True,
        default="",
        db_default="",
        help_text="The category as which recipients can refuse it. Empty: that of its template.",
    )
    account = models.CharField(
        max_length=50,
        blank=True,
        default="",
        db_default="",
        help_text="The provider account that alone may send it. Empty: one is chosen.",
    )
    throttle = models.CharField(
        max_length=50,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The throttle that held it at its acceptance, like 3 in 1d.",
    )
    # No foreign key: the archive keeps it, and no insert locks the run.
    chain_run: "models.UUIDField[UUID | None, UUID | None]" = models.UUIDField(
        null=True, blank=True, editable=False, help_text="The run of a chain that it is a step of."
    )
    chain_step = models.SmallIntegerField(
        null=True, blank=True, editable=False, help_text="Which of its steps it is, from 1."
    )
    digest_id: "models.UUIDField[UUID | None, UUID | None]" = models.UUIDField(
        null=True,
        blank=True,
        editable=False,
        help_text="The digest that it goes with, or whose notification it is.",
    )
    # No constraint: ``mails.keeping`` locks what it refers to, and only the collector deletes it.
    mail = models.ForeignKey(
        "notifications.MailContent",
        models.DO_NOTHING,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        db_index=False,
        db_constraint=False,
        help_text="What a mail has beside subject and body.",
    )
    told_status = models.CharField(
        max_length=10,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The final state that was last reported to the callback URL.",
    )
    continuation = models.JSONField(
        null=True,
        blank=True,
        editable=False,
        help_text="The Celery tasks to call afterwards, until they are called.",
    )
    status = models.CharField(max_length=10, choices=Status.choices)
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="When a worker or the sweep must look at this row again."
    )
    attempt_count = models.PositiveSmallIntegerField(
        default=0,
        help_text="Attempts begun. A worker's report counts only while it has this number.",
    )
    failover_count = models.PositiveSmallIntegerField(
        default=0, help_text="Attempts that another account repeated at once."
    )
    loss_count = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="Attempts whose worker died."
    )
    reason = models.CharField(max_length=50, blank=True, help_text="Why it is in this state.")
    provider = models.CharField(max_length=50, blank=True)
    segments = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="How many segments an SMS took."
    )
    scheduled_at = models.DateTimeField(help_text="When it was first to be sent.")
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(
        null=True, blank=True, help_text="When the recipient opened it, as far as it is known."
    )

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.channel} {self.id}"

    @property
    def world(self) -> World:
        """Whose it is, and whether it is a test."""
        return World(self.project, self.test)

    @property
    def queue(self) -> str:
        """The queue it travels through, e.g. ``email.high``."""
        return routing.queue_for(self.channel, self.priority)


class Notification(NotificationRecord):
    """A notification that lives, or that finished not long ago."""

    batch = models.ForeignKey(
        "notifications.Batch",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="notifications",
        db_index=False,
    )
    replay_of = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="replays",
        db_index=False,
    )

    class Meta:
        permissions = [
            ("view_content", "Can see contents and recipients"),
            ("cancel_notification", "Can cancel notifications"),
            ("resend_notification", "Can send notifications again"),
        ]
        # Ids are in time order, so the primary key also serves "the newest first". Nearly
        # every other index is partial: a row pays only for what it has.
        constraints = [
            models.UniqueConstraint(
                fields=["project", "test", "idempotency_key"],
                name="notification_key_of_project",
                condition=~Q(idempotency_key=""),
            ),
            # A step is there once for each of its addresses, of which push may have several.
            models.UniqueConstraint(
                fields=["chain_run", "chain_step", "recipient"],
                name="notification_chain_step",
                condition=Q(chain_run__isnull=False) & ~Q(recipient="forgotten"),
            ),
            models.CheckConstraint(
                name="callback_has_no_callback",
                condition=~Q(channel=routing.CALLBACK_CHANNEL) | Q(callback_url=""),
            ),
        ]
        indexes = [
            # Final states that were not told yet.
            models.Index(
                fields=["finished_at"],
                name="notification_untold",
                condition=Q(finished_at__isnull=False)
                & ~Q(callback_url="")
                & ~Q(told_status=F("status")),
            ),
            # The one index that everything which ticks lives on.
            models.Index(
                fields=["channel", "priority", "due_at"],
                name="notification_due",
                condition=Q(due_at__isnull=False),
            ),
            # Ended, and what follows in a canvas was not called yet.
            models.Index(
                fields=["finished_at"],
                name="notification_followers",
                condition=Q(continuation__isnull=False, finished_at__isnull=False),
            ),
            # Rows that were due before, and now wait for their next attempt, an account or a
            # limit: those that wait longest first. See ``notifications.monitoring.waiting``.
            models.Index(
                fields=["channel", "priority", "scheduled_at"],
                name="notification_deferred",
                condition=Q(status="scheduled", due_at__gt=F("scheduled_at")),
            ),
            # Leases that ran out.
            models.Index(
                fields=["due_at"],
                name="notification_lease",
                condition=Q(due_at__isnull=False, status__in=["sending", "sent", "failed"]),
            ),
            # What waits for the end of a hold, or of a batch's pause.
            models.Index(
                fields=["id"],
                name="notification_parked",
                condition=Q(due_at__isnull=True, status="scheduled"),
            ),
            models.Index(
                fields=["finished_at"],
                name="notification_finished",
                condition=Q(finished_at__isnull=False),
            ),
            models.Index(
                fields=["reference"], name="notification_reference", condition=~Q(reference="")
            ),
            # A batch's rows, counted by state from the index alone.
            models.Index(
                fields=["batch", "status"],
                name="notification_batch_state",
                condition=Q(batch__isnull=False),
            ),
            models.Index(
                fields=["replay_of"],
                name="notification_replay_of",
                condition=Q(replay_of__isnull=False),
            ),
            models.Index(
                fields=["status", "-id"],
                name="notification_unhappy",
                condition=Q(status__in=["failed", "expired", "suppressed", "cancelled"]),
            ),
            models.Index(
                fields=["mail"], name="notification_mail", condition=Q(mail__isnull=False)
            ),
            models.Index(
                fields=["digest_id"],
                name="notification_digest",
                condition=Q(digest_id__isnull=False),
            ),
            models.Index(fields=["recipient"], name="notification_recipient"),
            # Mail addresses with capitals, to be found in any letter case. See ``spellings.kept``.
            models.Index(
                Lower("recipient"),
                name="notification_recipient_case",
                condition=Q(channel="email") & ~Q(recipient=Lower("recipient")),
            ),
            models.Index(
                fields=["project", "recipient_key", "created_at", "id"],
                name="notification_of_recipient",
                condition=~Q(recipient_key=""),
            ),
            # Ids that a caller chose are in no order: a project's list has an index, and that of
            # its tests, which are few among many, one of its own.
            models.Index(fields=["project", "created_at", "id"], name="notification_of_project"),
            models.Index(
                fields=["project", "created_at", "id"],
                name="notification_of_test",
                condition=Q(test=True),
            ),
        ]

    def tries(self) -> list["Attempt"]:
        """Return the attempts, the first one first."""
        return list(self.attempts.all())


def in_state(rows: "models.QuerySet[Any]", status: str) -> "models.QuerySet[Any]":
    """Return the rows in a state; those of a state that does not end by the indexes they are in."""
    found = rows.filter(status=status)
    match status:
        case Status.QUEUED | Status.SENDING:
            return found.filter(due_at__isnull=False)
        case Status.SCHEDULED:  # due, or parked: an index for each
            parked = Q(due_at__isnull=True, status=Status.SCHEDULED)
            return found.filter(Q(due_at__isnull=False) | parked)
    return found


class Attempt(models.Model):
    """One try at a provider, written when it ended."""

    # Its unique constraint is the index, too.
    notification = models.ForeignKey(
        Notification, models.CASCADE, related_name="attempts", db_index=False
    )
    number = models.PositiveSmallIntegerField()
    provider = models.CharField(max_length=50, blank=True)
    result = models.CharField(max_length=10, choices=[(r.value, r.value) for r in Result])
    choice = models.CharField(max_length=100, blank=True, help_text="Why this provider was chosen.")
    code = models.CharField(max_length=50, blank=True, help_text="The provider's own code.")
    detail = models.TextField(blank=True)
    provider_message_id = models.CharField(max_length=255, blank=True)
    worker = models.CharField(max_length=255, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField()
    retry_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["notification", "number"], name="attempt_number"),
        ]
        indexes = [
            models.Index(
                fields=["provider_message_id"],
                name="attempt_provider_message",
                condition=~Q(provider_message_id=""),
            ),
        ]
        ordering = ["number"]

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.result}"
