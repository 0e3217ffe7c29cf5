"""The providers of this thread, made from their accounts; their connections are kept."""

import threading

from notifications.channels.base import Account, Provider
from notifications.kinds import problems, provider_class

_kept = threading.local()


class BadAccount(ValueError):
    """The account lacks what its kind needs."""


def provider_of(account: Account) -> Provider:
    """Give this thread's provider for an account, made anew when the account was changed.

    Raises ``BadAccount``, or whatever its settings make of it; then nothing is kept.
    """
    kept: dict[str, Provider] = _kept.__dict__
    provider = kept.get(account.name)
    if provider is not None and provider.account == account:
        return provider
    if provider is not None:
        del kept[account.name]
        provider.close()
    check(account)
    made = kept[account.name] = provider_class(account.kind)(account)
    return made


def check(account: Account) -> None:
    """Raise ``BadAccount`` where an account lacks what its kind needs."""
    if wrong := problems(account.kind, account.channel, account.settings, account.secrets):
        raise BadAccount("; ".join(f"{name}: {' '.join(texts)}" for name, texts in wrong.items()))
