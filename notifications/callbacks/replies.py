"""Text messages that come in: STOP, START and HELP (CTIA Messaging Principles, 5.1.3).

Who answers STOP to one of our numbers answers all who send by it: each project. What cannot be
refused still goes. STOP is kept for each account, so START takes back what STOP to the same account
did, or to one that was deleted since, and nothing else. Any text but STOP and HELP is an answer to
the last step of a chain that asked for one.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import product
from typing import Literal

import structlog
from django.conf import settings
from django.db import transaction

from notifications import submission
from notifications.callbacks import keywords, withdrawals
from notifications.channels import recipients
from notifications.channels.base import Reply
from notifications.core.chains import StopOn
from notifications.core.errors import InvalidNotification
from notifications.core.world import World
from notifications.db import clock
from notifications.db.bulk_insert import Table
from notifications.delivery import outcomes
from notifications.models import ChainRun, Notification, Status, TakenReply
from notifications.models.taken_reply import LONGEST_REPLY_ID
from notifications.submission import projects
from scheduling import isolation

log = structlog.get_logger(__name__)

CHANNEL: Literal["sms"] = "sms"
AWAITED = timedelta(days=7)  # since a run began: for so long an answer to its steps counts

_TAKEN = Table(TakenReply, "id")


def take(replies: Iterable[Reply], *, account: str) -> None:
    """Do what people have answered; what is neither such a word nor awaited is passed over."""
    isolation.each(
        [*replies], lambda reply: _take(reply, account), stage="replies", key=lambda _: account
    )


def _take(reply: Reply, account: str) -> None:
    """Do what a text says, once: providers post one again that they had no answer for in time."""
    with transaction.atomic():
        if reply.id and not _is_new(reply.id, account):
            log.info("reply_came_again", account=account)
            return
        _do(reply, account)


def _is_new(reply_id: str, account: str) -> bool:
    row = {"account": account, "reply_id": reply_id[:LONGEST_REPLY_ID]}
    return bool(
        _TAKEN.insert([{**_TAKEN.defaults, **row, "received_at": clock.now()}], skip_taken=True)
    )


def _do(reply: Reply, account: str) -> None:
    word = keywords.word_of(reply.text)
    log.info("reply_came_in", account=account, word=word or "other")
    senders = recipients.senders(reply.sender)
    if not senders:
        log.warning("reply_from_no_number", account=account, word=word or "other")
        return
    if word in ("", "start") and reply.text.strip():  # YES is START, and says that it was read
        _answered(senders, account)
    if word == "help" and not reply.is_answered:
        _help(senders[0])
    if word not in ("stop", "start"):
        return
    for name, sender in product(projects.names(), senders):
        world = World(name)
        if word == "stop":
            withdrawals.take(
                withdrawals.STOPPED, CHANNEL, sender, world=world, source=account, detail=reply.text
            )
        else:
            withdrawals.take_back(CHANNEL, sender, world=world, source=account, detail=reply.text)


def _answered(senders: Sequence[str], account: str) -> None:
    """Note that the last step which asked this number for an answer, by this account, was read."""
    asking = ChainRun.objects.filter(stop_on=StopOn.ANSWERED, created_at__gte=clock.now() - AWAITED)
    step = (
        Notification.objects.filter(
            channel=CHANNEL,
            recipient__in=senders,
            provider=account,
            status__in=(Status.SENT, Status.DELIVERED),
            chain_run__in=asking.values("pk"),
        )
        .order_by("-sent_at")
        .first()
    )
    if step is not None:
        outcomes.confirm_read(step.pk)


def _help(sender: str) -> None:
    """Answer with the text of ``SMS_HELP``, where there is one."""
    if not settings.SMS_HELP:
        return
    try:
        submission.send(
            channel=CHANNEL, recipient=sender, body=settings.SMS_HELP, category="security"
        )
    except InvalidNotification as error:
        log.warning("help_not_sent", field=error.field, error=type(error).__name__)
