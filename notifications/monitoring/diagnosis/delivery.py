"""Backlog, quarantine, providers and dead letters."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from importlib import import_module

from django.conf import settings

from notifications.callbacks import mailbox
from notifications.channels.base import Provider
from notifications.channels.kinds import UnknownKind, provider_class
from notifications.core import routing
from notifications.core.errors import TransientError
from notifications.db import clock
from notifications.models import FailedDelivery, QuarantinedRow
from notifications.monitoring import overview, waiting
from notifications.monitoring.diagnosis.finding import Finding
from notifications.monitoring.state import MOST
from notifications.operations import bulk_replays
from notifications.providers import accounts
from notifications.providers.accounts import Candidate
from notifications.providers.smtp_connection import connect, read_url
from templates_engine.context_schema import check_schema
from templates_engine.errors import InvalidTemplate
from templates_engine.models import Category, Status, Template, TemplateVersion

ANSWER_SECONDS = 5.0
MANY = 100  # dead letters in an hour
LOGIN_REFUSED = {"530", "534", "535", "538"}  # replies to AUTH, or for the lack of it (RFC 4954, 6)


def backlog() -> Iterator[Finding]:
    """Nothing that is due waits for long."""
    now = clock.now()
    for queue in waiting.look(MOST):
        if (age := queue.age(now)) <= overview.LATE:
            continue
        why = (
            f": {queue.retrying} wait for a retry, "
            f"{queue.blocked} for an account, an endpoint or a limit"
        )
        yield Finding(
            "delivery.late",
            f"A notification of {queue.channel}.{queue.priority} waits for {age:.0f} s"
            f"{why if queue.retrying or queue.blocked else ''}.",
            "manage.py allocation shows who has the slots. Start more workers, or look at the "
            "provider of this channel; docs/operating.md, “The backlog grows”.",
            is_error=False,
        )


def held() -> Iterator[Finding]:
    """Nothing is held back by an operator."""
    for said in overview.held():
        yield Finding(
            "delivery.held",
            said,
            "Release it when its reason is gone: what waits is sent then.",
            is_error=False,
        )


def quarantine() -> Iterator[Finding]:
    """No row faults the loop that works on it."""
    for row in QuarantinedRow.objects.open().order_by("quarantined_at")[:5]:
        yield Finding(
            "delivery.quarantined",
            f"The loop {row.loop} skips the row {row.key}, with which it failed {row.fault_count} "
            f"times: {row.reason} in {row.stage}, at {row.place}",
            "Fix the cause, then release it in the admin under Quarantine.",
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


def disabled_accounts() -> Iterator[Finding]:
    """Nothing waits for an account that it names and that is disabled."""
    for queue in waiting.stranded(MOST):
        yield Finding(
            "delivery.account_disabled",
            str(queue),
            "Enable the account in the admin under Provider accounts, or cancel what names it: no "
            "other account stands in for it.",
            is_error=False,
        )


def limits() -> Iterator[Finding]:
    """Each rate limit holds."""
    for name in accounts.faulty_limits():
        yield Finding(
            "provider.limit",
            f"The rate limit of {name} does not hold: its rate cannot be read.",
            "Write a rate like 100/s, in the admin under Rate limits.",
        )


def schemas() -> Iterator[Finding]:
    """Each published version's context schema can be used."""
    live = TemplateVersion.objects.filter(status=Status.PUBLISHED, context_schema__isnull=False)
    for version in live.select_related("template").order_by("template__name"):
        try:
            check_schema(version.context_schema)
        except InvalidTemplate as error:
            yield Finding(
                "template.schema",
                f"{version} refuses every context. {error}",
                "Make a new version without what is refused, and publish it (docs/templates.md).",
            )


def open_circuits() -> Iterator[Finding]:
    """No account's circuit is open after failures."""
    shown = overview.providers()
    able = {provider.channel for provider in shown if provider.state == overview.READY}
    for provider in shown:
        if provider.state != overview.CIRCUIT_OPEN:
            continue
        yield Finding(
            "provider.circuit_open",
            provider.trouble,
            "See the provider's status page, and docs/operating.md, “A provider is down”. "
            "Another account of the channel takes over by itself.",
            is_error=provider.channel not in able,
        )


def _mail_server(candidate: Candidate) -> Iterator[Finding]:
    account = candidate.account
    server = read_url(account.secrets["url"], account.settings.get("ehlo", ""), account.reach)
    where = f"{server.host}:{server.port}"
    place = "the account's secret url" if accounts.named(account.name) else "EMAIL_URL"
    try:
        connect(server, time.monotonic() + ANSWER_SECONDS).quit()
    except TransientError as error:
        kind, problem, cure = _of_refusal(error.code, place)
        yield Finding(
            kind,
            f"The mail server {where} of the account {candidate.name} "
            f"{problem}: {error.code} {error.detail}",
            cure,
        )


def _of_refusal(code: str, place: str) -> tuple[str, str, str]:
    """Return of a session that a mail server did not begin the finding, its words and its cure."""
    if code[:3] in LOGIN_REFUSED:
        return "provider.login", "does not let us log in", f"Correct user and password in {place}."
    if code.startswith("5"):
        return (
            "provider.refused",
            "refuses this machine",
            "Its reply says why: it may not take mail from this address or under this name (the "
            "account's ehlo), or it wants TLS. Ask who runs it, or name another server in "
            f"{place}.",
        )
    return (
        "provider.away",
        "does not answer",
        f"Check host and port in {place}, and that a firewall lets this machine out.",
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


def mail_records() -> Iterator[Finding]:
    """What DNS says of the senders' domains fits; nothing is said where no name server answers."""
    try:
        records = import_module("notifications.monitoring.diagnosis.mail_records")
        resolver = import_module("dns.resolver").Resolver()
    except Exception:  # noqa: BLE001 -- dnspython is not installed, or this machine has no resolver
        return
    with suppress(records.NoResolver):
        yield from records.examined(resolver)


def dead_letters() -> Iterator[Finding]:
    """Few deliveries failed of late."""
    since = clock.now() - timedelta(hours=1)
    fresh = FailedDelivery.objects.filter(created_at__gte=since).count()
    if fresh >= MANY:
        yield Finding(
            "delivery.failing",
            f"{fresh} deliveries failed in the last hour; "
            f"{bulk_replays.open_ones().count()} are open.",
            "See their causes in the admin under Failed deliveries, fix them, then replay.",
            is_error=False,
        )


def mailbox_of_bounces() -> Iterator[Finding]:
    """The mailbox of bounces can be read."""
    if problem := mailbox.problem():
        yield Finding(
            "mail.mailbox",
            f"The mailbox of bounces cannot be read, or not all of it: {problem}",
            "Check that the server of BOUNCE_MAILBOX answers and takes its user and password. "
            "Bounces stay there unseen, and are read once it does. A mail that is named by its UID "
            "stops no other: move or delete it. It is too large where the server ignores the range "
            "of a FETCH (RFC 9051, 6.4.5).",
            is_error=False,
        )


PROBES = (
    *(backlog, held, quarantine, providers, limits, open_circuits),
    *(disabled_accounts, public_address, dead_letters, schemas, mail_records, mailbox_of_bounces),
)
