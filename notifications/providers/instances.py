"""The providers of this process, made from their accounts; their connections are kept."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from notifications.channels.base import Account, Provider
from notifications.channels.kinds import problems, provider_class
from scheduling import isolation

KEPT_FOR = 30.0  # seconds that a provider keeps its connections while nobody uses it


class BadAccount(ValueError):
    """The account lacks what its kind needs."""


@dataclass(frozen=True, slots=True)
class _Kept:
    provider: Provider
    since: float


_lock = threading.Lock()
_free: dict[str, list[_Kept]] = {}
_shared: dict[str, Provider] = {}
for _kept in (_free, _shared):  # two processes must not share a connection
    os.register_at_fork(after_in_child=_kept.clear)


@contextlib.contextmanager
def lend(account: Account) -> Iterator[Provider]:
    """Lend a provider that nobody else uses meanwhile, unless its kind may be shared.

    It is made anew when the account was changed. Raises ``BadAccount``, or whatever its settings
    make of it; then nothing is kept.
    """
    if provider_class(account.kind).is_shared:
        yield _shared_by_all(account)
        return
    provider = _free_instance(account) or _made(account)
    try:
        yield provider
    except BaseException:
        provider.close()
        raise
    _keep(provider)


def _shared_by_all(account: Account) -> Provider:
    with _lock:
        provider = _shared.get(account.name)
        if provider is not None and provider.account == account:
            return provider
        old, provider = provider, _made(account)
        _shared[account.name] = provider
    if old is not None:
        old.close()
    return provider


def _made(account: Account) -> Provider:
    check(account)
    with isolation.contained():
        return provider_class(account.kind)(account)


def check(account: Account) -> None:
    """Raise ``BadAccount`` where an account lacks what its kind needs."""
    if wrong := problems(account.kind, account.channel, account.settings, account.secrets):
        raise BadAccount("; ".join(f"{name}: {' '.join(texts)}" for name, texts in wrong.items()))


def _free_instance(account: Account) -> Provider | None:
    with _lock:
        free = _free.get(account.name, [])
        kept = free.pop() if free else None
        changed = kept is not None and kept.provider.account != account
        others = _free.pop(account.name, []) if changed else []
    if kept is None or not changed:
        return kept.provider if kept else None
    for old in (kept, *others):
        old.provider.close()
    return None


def _keep(provider: Provider) -> None:
    now = time.monotonic()
    with _lock:
        free = _free.setdefault(provider.account.name, [])
        free.append(_Kept(provider, now))
        # Those that are used most rarely come first.
        count = sum(kept.since < now - KEPT_FOR for kept in free)
        idle = free[:count]
        del free[:count]
    for old in idle:
        old.provider.close()
