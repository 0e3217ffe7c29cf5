"""Schedulers, backlog, providers and dead letters."""

import time
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings

from notifications import accounts, bulk_replays, clock, overview, routing
from notifications.accounts import Candidate
from notifications.backlog import oldest
from notifications.channels.base import Provider
from notifications.channels.smtp_connection import connect, read_url
from notifications.diagnosis.finding import Finding
from notifications.errors import TransientError
from notifications.kinds import UnknownKind, provider_class
from notifications.models import FailedDelivery
from scheduling import status as scheduler_status
from scheduling.models import Schedule
from templates_engine.models import Category, Template

ANSWER_SECONDS = 5.0
MANY = 100  # dead letters in an hour


def schedulers() -> Iterator[Finding]:
    """At least one scheduler is alive."""
    if not scheduler_status.read().live_schedulers:
        yield Finding(
            "scheduler.none",
            "No scheduler is alive: schedules, retries and lost messages wait.",
            "Start one: celery -A config beat. Two of them survive the death of one.",
        )


def backlog() -> Iterator[Finding]:
    """Nothing that is due waits for long."""
    queues = [(c, p) for c in routing.CHANNELS for p in routing.PRIORITIES]
    late = {q: age for q, age in oldest(queues).items() if age > overview.LATE}
    for (channel, priority), age in late.items():
        yield Finding(
            "delivery.late",
            f"The oldest due notification of {channel}.{priority} waits for {age:.0f} s.",
            "manage.py allocation shows who has the slots. Start more workers, or look at the "
            "provider of this channel; docs/operating.md, “The backlog grows”.",
            is_error=False,
        )


def schedules() -> Iterator[Finding]:
    """No schedule was set aside as broken."""
    broken = Schedule.objects.filter(quarantined_at__isnull=False).select_related("periodic_task")
    for schedule in broken[:5]:
        yield Finding(
            "scheduler.quarantined",
            f"The schedule {schedule.periodic_task.name!r} is set aside: "
            f"{schedule.quarantine_reason}",
            "Correct it in the admin under Schedules: saving it puts it back to work.",
        )


def providers() -> Iterator[Finding]:
    """Each enabled account can be used, and a mail server lets us in."""
    for channel in routing.CHANNELS:
        for candidate in accounts.candidates(channel):
            if candidate.problem:
                yield Finding(
                    "provider.unusable",
                    f"The account {candidate.name} cannot be used: {candidate.problem}",
                    "Correct it in the admin under Provider accounts, or set what it refers to.",
                )
            elif candidate.account.kind == "smtp":
                yield from _mail_server(candidate)


def _mail_server(candidate: Candidate) -> Iterator[Finding]:
    account = candidate.account
    server = read_url(account.secrets["url"], account.settings["from"])
    where = f"{server.host}:{server.port}"
    try:
        connect(server, time.monotonic() + ANSWER_SECONDS).quit()
    except TransientError as error:
        refused = error.code.startswith("5")
        yield Finding(
            "provider.login" if refused else "provider.away",
            f"The mail server {where} of the account {candidate.name} "
            f"{'refuses us' if refused else 'does not answer'}: {error.code} {error.detail}",
            "Correct user and password in EMAIL_URL or in the account's secret."
            if refused
            else "Check host and port in EMAIL_URL, and that a firewall lets this machine out.",
        )


def public_address() -> Iterator[Finding]:
    """Who needs to be reached from outside can be."""
    if settings.PUBLIC_URL:
        return
    needs = [
        f"the account {candidate.name} (receipts)"
        for channel in routing.CHANNELS
        for candidate in accounts.candidates(channel)
        if _has_receipts(candidate.account.kind)
    ]
    marketing = Template.objects.filter(category=Category.MARKETING, channel="email")
    needs += [f"the template {template.name} (unsubscribing)" for template in marketing[:5]]
    if needs:
        yield Finding(
            "provider.public_url",
            f"PUBLIC_URL is empty, but needed by {', '.join(needs)}.",
            "Set PUBLIC_URL=https://notify.example.org, where the world reaches this system.",
            is_error=False,
        )


def _has_receipts(kind: str) -> bool:
    try:
        return provider_class(kind).receipts is not Provider.receipts
    except UnknownKind:  # the admin and each attempt say so
        return False


def dead_letters() -> Iterator[Finding]:
    """Few deliveries failed of late."""
    since = clock.now() - timedelta(hours=1)
    fresh = FailedDelivery.objects.filter(created_at__gte=since).count()
    if fresh >= MANY:
        yield Finding(
            "delivery.failing",
            f"{fresh} deliveries failed in the last hour; "
            f"{bulk_replays.open_ones().count()} are open.",
            "See their causes in the admin under Failed deliveries, mend, then replay.",
            is_error=False,
        )
