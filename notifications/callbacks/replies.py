"""Text messages that come in: STOP, START and HELP (CTIA Messaging Principles, 5.1.3).

Who answers STOP to one of our numbers answers all who send by it: each project. What cannot be
refused still goes. START takes back what STOP to the same number did, and nothing else.
"""

from collections.abc import Iterable
from typing import Literal

import structlog
from django.conf import settings

from notifications import submission
from notifications.callbacks import withdrawals
from notifications.channels import CHANNELS
from notifications.channels.base import Reply
from notifications.core.errors import InvalidNotification
from notifications.core.world import World
from notifications.submission import projects
from scheduling import isolation

log = structlog.get_logger(__name__)

CHANNEL: Literal["sms"] = "sms"
STOP = frozenset(
    {"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"}
    | {"stopp", "arret", "arrêt", "alto", "parar", "basta", "stoppen"}
)
START = frozenset({"start", "unstop", "yes"})
HELP = frozenset({"help", "info", "hilfe", "aide", "ayuda", "aiuto"})


def take(replies: Iterable[Reply], *, account: str) -> None:
    """Do what people have answered; what is none of these words is passed over."""
    isolation.each(
        [*replies], lambda reply: _take(reply, account), stage="replies", key=lambda _: account
    )


def word_of(text: str) -> str:
    """Return ``stop``, ``start`` or ``help`` for a text that is such a word alone, else empty."""
    word = "".join(text.lower().split()).strip(".!\"'")
    known = {"stop": STOP, "start": START, "help": HELP}
    return next((name for name, words in known.items() if word in words), "")


def _take(reply: Reply, account: str) -> None:
    word = word_of(reply.text)
    log.info("reply_came_in", account=account, word=word or "other")
    if not word:
        return
    sender = CHANNELS[CHANNEL].clean_recipient(reply.sender)
    if word == "help":
        if not reply.is_answered:
            _help(sender)
        return
    for name in projects.names():
        world = World(name)
        if word == "stop":
            withdrawals.take(
                withdrawals.STOPPED, CHANNEL, sender, world=world, source=account, detail=reply.text
            )
            continue
        withdrawals.take_back(CHANNEL, sender, world=world, source=account, detail=reply.text)


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
