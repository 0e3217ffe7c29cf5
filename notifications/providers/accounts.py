"""The provider accounts as rows, kept in each process for a second."""

import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, NamedTuple, cast

import structlog
from django.conf import settings

from notifications.channels import allowed_senders, kinds, signing_secrets
from notifications.channels.base import Account
from notifications.channels.outgoing import Reach
from notifications.channels.secret_references import BadReference, resolve
from notifications.core.errors import NoProvider
from notifications.core.rates import BadRate, Rate
from notifications.core.routing import CHANNELS
from notifications.core.world import DEFAULT_PROJECT
from notifications.models import ProviderAccount, RateLimit
from scheduling import isolation

log = structlog.get_logger(__name__)

HELD = "account_held"  # the problem of an account that an operator holds, and why a row waits
HELD_WAIT = 60.0  # seconds between two looks at such a row; a release ends it at once
FRESH_SECONDS = 1.0  # the promise is that a change is seen within two


class Rule(NamedTuple):
    """What an account is for; empty words match everything."""

    template: str
    country_prefix: str
    priority: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """An account that may be chosen. ``problem`` says why it cannot be used, if so.

    One that ``is_named`` is asked for by the notification, so no rule keeps it from serving.
    """

    account: Account
    weight: int = 100
    rate: Rate | None = None
    rules: tuple[Rule, ...] = ()
    problem: str = ""
    is_named: bool = False

    @property
    def name(self) -> str:
        """The account's name."""
        return self.account.name


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate limit per recipient or for a template."""

    scope: str
    template: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the rows said at one time, by channel. A channel with rows has no default.

    ``kinds`` counts accounts that are not enabled, too. ``faulty_limits`` names the limits whose
    rate cannot be read: they do not hold.
    """

    taken_at: float
    candidates: dict[str, tuple[Candidate, ...]]
    limits: dict[str, tuple[Limit, ...]]
    by_name: dict[str, Account]
    kinds: dict[str, set[str]]
    faulty_limits: tuple[str, ...]


_lock = threading.Lock()
_snapshot: Snapshot | None = None
_instead: Snapshot | None = None  # of what the rows say, in tests
_told: dict[str, str] = {}  # the problem of each account that was warned of last


def candidates(channel: str, name: str = "") -> tuple[Candidate, ...]:
    """Return the enabled accounts of a channel; without any row, what the settings say.

    With a name, that account alone.
    """
    candidates = current().candidates.get(channel)
    candidates = _default(channel) if candidates is None else candidates
    if not name:
        return candidates
    return tuple(
        replace(candidate, rules=(), is_named=True)
        for candidate in candidates
        if candidate.name == name
    )


def is_known(channel: str, name: str) -> bool:
    """Return whether a channel has an account of this name, enabled or not."""
    return any(candidate.name == name for candidate in all_of(channel))


def all_of(channel: str) -> tuple[Candidate, ...]:
    """Return the accounts of a channel, also the disabled ones."""
    names = [a.name for a in current().by_name.values() if a.channel == channel]
    return tuple(Candidate(current().by_name[name]) for name in names) or _default(channel)


def disabled() -> list[Account]:
    """Return the accounts that are not enabled: what names one of them waits."""
    snapshot = current()
    enabled = {candidate.name for rows in snapshot.candidates.values() for candidate in rows}
    return [candidate for candidate in snapshot.by_name.values() if candidate.name not in enabled]


def for_tests(channel: str) -> tuple[Candidate, ...]:
    """Return the account of the tests of any channel: the simulator, which does as it is told."""
    return (Candidate(Account(f"simulator for {channel}", channel, "simulator")),)


def named(name: str) -> Account | None:
    """Return an account by its name, enabled or not: receipts come after it was disabled, too."""
    return current().by_name.get(name)


def limits(channel: str) -> tuple[Limit, ...]:
    """Return the limits per recipient and template of a channel."""
    return current().limits.get(channel, ())


def faulty_limits() -> tuple[str, ...]:
    """Name the limits whose rate cannot be read: they do not hold."""
    return current().faulty_limits


def takers(channel: str, recipient: str, name: str = "") -> list[str]:
    """Return the kinds of accounts of a channel, enabled or not, that could reach a recipient.

    With a name, that account's kind, if it could.
    """
    usable = current().kinds.get(channel)
    if usable is None or name:
        usable = {
            candidate.account.kind for candidate in all_of(channel) if name in ("", candidate.name)
        }
    return [kind for kind in usable if kinds.fit(kind, recipient)]


def may_send_as(channel: str, sender: str, name: str = "") -> bool:
    """Return whether any account of a channel, enabled or not, allows this sender of a mail.

    With a name, whether that account does.
    """
    return any(
        allowed_senders.allows(candidate.account.settings, sender)
        for candidate in all_of(channel)
        if name in ("", candidate.name)
    )


def require(channel: str) -> None:
    """Raise ``NoProvider`` where nobody would ever carry this channel."""
    if channel not in current().candidates and not _default(channel):
        raise NoProvider(
            f"No provider account sends by the channel {channel!r}.",
            field="channel",
            hint="Add a provider account in the admin, or set OUTBOX=1 for the built-in outbox.",
        )


def current() -> Snapshot:
    """Return the rows as they were at most ``FRESH_SECONDS`` ago."""
    global _snapshot  # noqa: PLW0603 -- one per process is the point
    if _instead is not None:
        return _instead
    kept = _snapshot
    if kept is not None and time.monotonic() - kept.taken_at < FRESH_SECONDS:
        return kept
    # Whoever has an older snapshot goes on with it rather than wait for the reading.
    if not _lock.acquire(blocking=kept is None):
        return cast("Snapshot", kept)
    try:
        if _snapshot is kept:  # nobody was quicker
            _snapshot = _load()
        assert _snapshot is not None  # noqa: S101 -- set just now, here or by whoever was quicker
        return _snapshot
    finally:
        _lock.release()


def forget() -> None:
    """Read the rows again at their next use."""
    global _snapshot  # noqa: PLW0603 -- as above
    _snapshot = None


@contextmanager
def using(kind: str) -> Iterator[None]:
    """Have an account of a kind serve each channel, whatever rows and settings say: for tests."""
    global _instead  # noqa: PLW0603 -- as above
    serving: dict[str, tuple[Candidate, ...]] = {
        c: (Candidate(Account(f"{kind} {c}", c, kind)),) for c in CHANNELS
    }
    by_name = {row.name: row.account for rows in serving.values() for row in rows}
    before = _instead
    kinds_of = {channel: {kind} for channel in CHANNELS}
    _instead = Snapshot(time.monotonic(), serving, {}, by_name, kinds_of, ())
    try:
        yield
    finally:
        _instead = before


def _load() -> Snapshot:
    taken_at = time.monotonic()
    by_channel: dict[str, list[Candidate]] = {}
    by_name: dict[str, Account] = {}
    kinds_of: dict[str, set[str]] = {}
    for candidate, enabled in _candidates():
        account = candidate.account
        chosen = by_channel.setdefault(account.channel, [])
        by_name[account.name] = account
        kinds_of.setdefault(account.channel, set()).add(account.kind)
        if enabled:
            chosen.append(candidate)
    limits, faulty = _limits()
    return Snapshot(
        taken_at,
        {channel: tuple(rows) for channel, rows in by_channel.items()},
        {channel: tuple(rows) for channel, rows in limits.items()},
        by_name,
        kinds_of,
        tuple(faulty),
    )


def _candidates() -> Iterator[tuple[Candidate, bool]]:
    """Read each account, and whether it is enabled; one that cannot be read costs itself."""
    rows = ProviderAccount.objects.prefetch_related("rules")
    try:
        yield from [(candidate_of(row), row.enabled) for row in rows]
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
    else:
        return
    plain = ProviderAccount.objects.values_list("pk", "enabled", "name", "channel", "kind")
    for key, enabled, name, channel, kind in plain:
        try:
            yield candidate_of(rows.get(pk=key)), enabled
        except ProviderAccount.DoesNotExist:
            continue
        except Exception as error:
            if isolation.concerns_everybody(error):
                raise
            problem = f"It cannot be read ({type(error).__name__})."
            _log_problem_once(name, problem)
            yield Candidate(Account(name, channel, kind), problem=problem), enabled


def _limits() -> tuple[dict[str, list[Limit]], list[str]]:
    """Read the limits by channel, and name those that cannot be read."""
    limits: dict[str, list[Limit]] = {}
    faulty = []
    for row in RateLimit.objects.all():
        try:
            limit = Limit(row.scope, row.template, Rate.parse(row.rate))
        except BadRate:
            faulty.append(f"{row.channel} per {row.scope} {row.template}".rstrip())
        else:
            limits.setdefault(row.channel, []).append(limit)
    return limits, faulty


def candidate_of(row: ProviderAccount) -> Candidate:
    """Read an account with its secrets; one that cannot be found is the candidate's problem.

    Raises ``TypeError`` or ``BadRate`` for a value that the admin would refuse.
    """
    secrets = {}
    problem = ""
    rate = Rate.parse(row.rate_limit) if row.rate_limit else None
    chosen = _named_values(row.settings)
    for name, reference in _named_values(row.secrets).items():
        try:
            secrets[name] = resolve(reference)
        except BadReference as error:
            problem = f"{name}: {error}"
        else:
            if unusable := kinds.secret_problem(row.kind, name, secrets[name]):
                problem = f"{name}: {unusable}"
    _log_problem_once(row.name, problem)
    return Candidate(
        Account(row.name, row.channel, row.kind, chosen, secrets),
        weight=row.weight,
        rate=rate,
        rules=tuple(
            Rule(rule.template, rule.country_prefix, rule.priority) for rule in row.rules.all()
        ),
        problem=problem,
    )


def _named_values(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise TypeError
    return given


def _log_problem_once(name: str, problem: str) -> None:
    """Log an account's problem once, for as long as it lasts."""
    if problem and problem != _told.get(name):
        log.warning("provider_account_unusable", account=name, problem=problem)
    _told[name] = problem


def webhook_secrets(project: str = DEFAULT_PROJECT) -> list[str]:
    """Return what signs a project's webhooks and callbacks, like ``whsec_…``, the newest first.

    Those of the default project are the settings', or one is derived. Each other project has its
    own, which nobody learns from another's.
    """
    if project != DEFAULT_PROJECT:
        return [signing_secrets.of_project(root, project) for root in _roots()]
    key = sha256(f"webhook {settings.SECRET_KEY}".encode()).digest()
    return settings.WEBHOOK_SECRETS or ["whsec_" + b64encode(key).decode()]


def _roots() -> list[str]:
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return [signing_secrets.root(key) for key in keys]


def _default(channel: str) -> tuple[Candidate, ...]:
    """Return what serves a channel without accounts: the settings' account, else the outbox."""
    if channel == "email" and settings.EMAIL_URL:
        chosen: dict[str, Any] = {"from": settings.EMAIL_FROM}
        if settings.EMAIL_SENDERS:
            chosen["senders"] = settings.EMAIL_SENDERS
        if settings.EMAIL_RETURN_PATH:
            chosen["return_path"] = settings.EMAIL_RETURN_PATH
        if settings.EMAIL_EHLO:
            chosen["ehlo"] = settings.EMAIL_EHLO
        secrets = {"url": settings.EMAIL_URL}
        if settings.EMAIL_DKIM_KEY:
            chosen["dkim_selector"] = settings.EMAIL_DKIM_SELECTOR
            secrets["dkim_key"] = settings.EMAIL_DKIM_KEY
        smtp = Account("smtp", channel, "smtp", chosen, secrets, Reach.SETTINGS)
        return (Candidate(smtp),)
    if channel in ("webhook", "callback"):
        signing = {"signing": " ".join(webhook_secrets()), "projects": " ".join(_roots())}
        return (Candidate(Account(channel, channel, "webhook", {}, signing)),)
    if channel == "simulator":
        behaviour = {"behaviour": settings.SIMULATOR}
        return (Candidate(Account("simulator", channel, "simulator", behaviour)),)
    if settings.OUTBOX:
        return (Candidate(Account("outbox", channel, "outbox")),)
    return ()
