"""The tables: notifications, their attempts, failed deliveries, and what stands beside them.

A notification's status and due time change by the conditional updates of ``transitions``, never
by an assignment and a ``save()``.
"""

from notifications.core import needed
from scheduling import installed

installed.require_own("notifications", needed.REMEDY)

from notifications.models.api_key import ApiKey
from notifications.models.archived_notification import ArchivedNotification
from notifications.models.audience import Audience, Expansion, ExpansionChunk
from notifications.models.batch import Batch
from notifications.models.bulk_replay import BulkReplay
from notifications.models.chain import Chain, ChainRun
from notifications.models.delivery_window import DeliveryWindow
from notifications.models.digest import Digest
from notifications.models.event import Event, EventEffect, EventRule
from notifications.models.failed_delivery import FailedDelivery
from notifications.models.hold import Hold, Scope
from notifications.models.mail import Attachment, MailContent
from notifications.models.minute_count import MinuteCount
from notifications.models.notification import (
    UNFINISHED,
    WAITING,
    Attempt,
    Notification,
    NotificationRecord,
    Status,
    in_state,
    new_id,
)
from notifications.models.outbox import OutboxMessage
from notifications.models.pending_receipt import PendingReceipt
from notifications.models.preference import Category, Consent
from notifications.models.project import Project
from notifications.models.provider_account import AccountRule, ProviderAccount, RateLimit
from notifications.models.quarantined_row import QuarantinedRow
from notifications.models.queue_weight import QueueWeight
from notifications.models.recipient import Recipient, RecipientAddress
from notifications.models.refused_row import RefusedRow
from notifications.models.suppression import Suppression
from notifications.models.taken_reply import TakenReply
from notifications.models.throttle import Throttle, ThrottleUse

__all__ = [
    "UNFINISHED",
    "WAITING",
    "AccountRule",
    "ApiKey",
    "ArchivedNotification",
    "Attachment",
    "Attempt",
    "Audience",
    "Batch",
    "BulkReplay",
    "Category",
    "Chain",
    "ChainRun",
    "Consent",
    "DeliveryWindow",
    "Digest",
    "Event",
    "EventEffect",
    "EventRule",
    "Expansion",
    "ExpansionChunk",
    "FailedDelivery",
    "Hold",
    "MailContent",
    "MinuteCount",
    "Notification",
    "NotificationRecord",
    "OutboxMessage",
    "PendingReceipt",
    "Project",
    "ProviderAccount",
    "QuarantinedRow",
    "QueueWeight",
    "RateLimit",
    "Recipient",
    "RecipientAddress",
    "RefusedRow",
    "Scope",
    "Status",
    "Suppression",
    "TakenReply",
    "Throttle",
    "ThrottleUse",
    "in_state",
    "new_id",
]
