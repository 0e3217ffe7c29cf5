"""A notification as JSON: what is asked for, what is accepted, and how it stands."""

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Field, Schema

from notifications.api.fields import CHANNEL, PRIORITY, TIME, Input, Whole, one_of
from notifications.api.json_schemas import SOME, number, text
from notifications.channels.mail import ATTACHMENT_FIELDS, FIELDS
from notifications.core.retry import Guarantee
from notifications.models import ArchivedNotification, Notification, NotificationRecord, Status
from notifications.models.digest import LONGEST_DIGEST_KEY
from notifications.monitoring import timeline
from notifications.recipients import directory
from notifications.submission import digest_fields


class AttachmentIn(Input):
    """A file of a mail."""

    filename: str = Field(description=ATTACHMENT_FIELDS["filename"])
    content: str = Field(
        description=ATTACHMENT_FIELDS["content"], json_schema_extra={"format": "byte"}
    )
    content_type: str = Field("", description=ATTACHMENT_FIELDS["content_type"])
    content_id: str = Field("", description=ATTACHMENT_FIELDS["content_id"])


class MailIn(Input):
    """What only an email may have."""

    from_email: str = Field("", description=FIELDS["from_email"])
    reply_to: list[str] | None = Field(None, description=FIELDS["reply_to"])
    cc: list[str] | None = Field(None, description=FIELDS["cc"])
    bcc: list[str] | None = Field(None, description=FIELDS["bcc"])
    headers: dict[str, str] | None = Field(None, description=FIELDS["headers"])
    html: str = Field("", description=FIELDS["html"])
    attachments: list[AttachmentIn] | None = Field(None, description=FIELDS["attachments"])


class ToIn(Input):
    """A stored recipient."""

    recipient: str | Whole = Field(
        description="Your own id for the recipient.",
        json_schema_extra=number(0, directory.LARGEST_ID),
    )


class DigestIn(Input):
    """The digest that a notification goes with, with all others of its key and recipient."""

    key: str = Field(
        description="What is collected together, like `comments-on-7`.",
        json_schema_extra=text(LONGEST_DIGEST_KEY) | SOME,
    )
    window: float = Field(
        description="Seconds for which it collects, 1 to 604800.",
        json_schema_extra=number(1, digest_fields.LONGEST_WINDOW),
    )
    template: str = Field(
        description="The digest's template, of the same channel: it gets `items`, `count`, `rest`.",
        json_schema_extra=text(digest_fields.LONGEST_TEMPLATE) | SOME,
    )
    first: str = Field(
        "together",
        json_schema_extra=one_of(digest_fields.FIRST),
        description="Whether the first one waits for the others, or goes at once.",
    )
    limit: Whole = Field(
        digest_fields.ITEMS,
        description="How many items the template gets at most, up to 500.",
        json_schema_extra=number(1, digest_fields.MOST_ITEMS),
    )


class NotificationIn(MailIn):
    """What may be asked for: a `template` with its `context`, or a `body` (and a `subject`)."""

    channel: str = Field(json_schema_extra=CHANNEL)
    recipient: str = Field(
        "",
        description="An address of the channel: email (also `Ada <ada@example.org>`), phone "
        "number, URL… Needed without `to`.",
    )
    to: ToIn | None = Field(
        None,
        description="A stored recipient in place of an address. On push each of its devices gets "
        "a notification of its own.",
    )
    template: str = Field("", description="The name of a published template.")
    context: dict[str, Any] | None = Field(None, description="The template's variables.")
    subject: str = ""
    body: str = ""
    locale: str = Field("", description="Which of the template's languages, like `de-AT`.")
    priority: str = Field("medium", json_schema_extra=PRIORITY)
    guarantee: str = Field(
        Guarantee.AT_LEAST_ONCE.value, json_schema_extra=one_of(tuple(Guarantee))
    )
    idempotency_key: str = Field(
        "",
        description="The same key and content return the first notification.",
    )
    category: str = Field(
        "",
        description="What a stored recipient may refuse it as: `security`, `billing`, `product`, "
        "`marketing`, or one of your own. By default what the template says.",
    )
    reference: str = Field("", description="Your own id for it, to find it by.")
    metadata: dict[str, Any] | None = Field(
        None, description="Your own data; it is returned as it is."
    )
    retry: dict[str, Any] | None = Field(
        None,
        description="What differs from the priority's retry policy: `max_attempts`, and in "
        "seconds `base`, `cap`, `deadline`; `jitter`.",
    )
    eta: str | None = Field(None, json_schema_extra=TIME, description="When to send it.")
    countdown: float | None = Field(None, description="Seconds from now, instead of `eta`.")
    local_time: str = Field(
        "",
        description="When to send it where the stored recipient is: `09:00`, the next one, or "
        "`2026-12-24T09:00`.",
    )
    expires: str | float | None = Field(
        None,
        description="A time, or seconds from now, after which it is not sent.",
        json_schema_extra=TIME,
    )
    callback_url: str = Field(
        "", description="A URL that gets a signed POST with the final status."
    )
    options: dict[str, Any] | None = Field(
        None,
        description="Options for the provider, beside the content. Push: `ttl`, `urgency`, "
        "`topic`, `image`, `collapse_key`, `priority`; chat: Slack's `blocks`; email: `to_name`, "
        "`open_pixel`.",
    )
    digest: DigestIn | None = Field(
        None, description="The digest that it goes with, in place of going by itself."
    )
    account: str = Field(
        "",
        description="The name of the provider account that alone may send it. By default one is "
        "chosen among the channel's.",
    )
    test: bool = Field(
        default=False,
        description="Whether the simulator gets it instead of a provider. True with a test key.",
    )


class Accepted(Schema):
    """A notification as it was accepted; asking again with the same key gives the same."""

    id: UUID
    status: str = Field(
        description="On acceptance: `queued`, `scheduled`, `merged`, `suppressed`, or "
        "`expired` for one that would expire before its delivery window opens."
    )
    channel: str
    priority: str
    recipient: str
    reference: str
    scheduled_at: datetime
    expires_at: datetime | None
    reason: str = Field(
        description="Why it is suppressed or expired, or waits (`window_closed`, `throttled`); "
        "else empty."
    )
    throttle: str = Field(description="The throttle that held it, like `3 in 1d`; else empty.")
    copies: list[UUID] = Field(
        description="The ids of the notifications to the recipient's other devices."
    )
    digest: UUID | None = Field(description="The digest that it goes with, if it is `merged`.")
    url: str = Field(description="Where to follow it.")


class NotificationOut(Schema):
    """A notification as it stands."""

    id: UUID
    status: str = Field(json_schema_extra=one_of(tuple(Status.values)))
    reason: str = Field(description="Why it has this status.")
    channel: str
    priority: str
    queue: str
    recipient: str
    to: dict[str, str] | None = Field(description="The stored recipient that it was addressed to.")
    template: str | None
    template_version: int | None
    locale: str
    guarantee: str
    reference: str
    category: str
    account: str = Field(description="The account that alone may send it; empty for any.")
    metadata: dict[str, Any]
    callback_url: str
    options: dict[str, Any] | None
    idempotency_key: str
    provider: str
    attempt_count: int
    due_at: datetime | None = Field(description="When the system looks at it again.")
    scheduled_at: datetime
    expires_at: datetime | None
    created_at: datetime
    sent_at: datetime | None
    finished_at: datetime | None
    read_at: datetime | None = Field(description="When the recipient opened it.")
    replay_of: UUID | None
    batch: UUID | None
    chain_run: UUID | None = Field(description="The run of a chain that it is a step of.")
    chain_step: int | None = Field(description="Which step it is, from 1.")
    throttle: str = Field(description="The throttle that held it, like `3 in 1d`; else empty.")
    digest: UUID | None = Field(
        description="The notification of the digest that it goes with (`merged`), or its own id "
        "if it is a digest."
    )
    test: bool
    request_id: str
    archived: bool = Field(description="Whether it is in the archive.")

    @staticmethod
    def resolve_archived(row: NotificationRecord) -> bool:
        """Tell which table it is in."""
        return isinstance(row, ArchivedNotification)

    @staticmethod
    def resolve_to(row: NotificationRecord) -> dict[str, str] | None:
        """Return it as a request names it."""
        return {"recipient": row.recipient_key} if row.recipient_key else None

    @staticmethod
    def resolve_digest(row: NotificationRecord) -> UUID | None:
        """Return the id, which is that of the digest's notification."""
        return row.digest_id

    @staticmethod
    def resolve_batch(row: NotificationRecord) -> UUID | None:
        """Return the id; the other row is not read for it."""
        return row.batch_id

    @staticmethod
    def resolve_template(row: NotificationRecord) -> str | None:
        """Return the template, not only its version."""
        return row.template_version.template.name if row.template_version else None

    @staticmethod
    def resolve_template_version(row: NotificationRecord) -> int | None:
        """Return the number that people know."""
        return row.template_version.number if row.template_version else None

    @staticmethod
    def resolve_replay_of(row: NotificationRecord) -> UUID | None:
        """Return the id; the other row is not read for it."""
        return row.replay_of_id


class AttemptOut(Schema):
    """One try at a provider."""

    number: int
    provider: str
    result: str
    code: str = Field(description="The provider's own code.")
    detail: str
    provider_message_id: str
    worker: str
    started_at: datetime | None
    finished_at: datetime
    retry_at: datetime | None


class EventOut(Schema):
    """One moment of its story."""

    at: datetime | None
    title: str
    detail: str


class NotificationDetail(NotificationOut):
    """A notification with its attempts, and why it is where it is."""

    subject: str
    body: str
    context: dict[str, Any]
    mail: dict[str, Any] | None = Field(
        description="What an email has beside, its attachments without their contents."
    )
    attempts: list[AttemptOut]
    trace: list[EventOut] = Field(description="What rules decided about it, in order.")

    @staticmethod
    def resolve_mail(row: NotificationRecord) -> dict[str, Any] | None:
        """Return what is stored of it."""
        return row.mail.fields if row.mail else None

    @staticmethod
    def resolve_attempts(row: Notification | ArchivedNotification) -> list[Any]:
        """Return the attempts, the first one first."""
        return row.tries()

    @staticmethod
    def resolve_trace(row: Notification | ArchivedNotification) -> list[timeline.Event]:
        """Return the timeline that the admin shows."""
        return timeline.of(row)
