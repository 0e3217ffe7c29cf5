"""Leases: "for a while, only one process does this". They save work; nothing rests on them.

A lease lasts 10 to 30 seconds, is renewed while it is held, and is fenced by a token: whoever comes
after a holder that died has a higher one. A lease that two processes hold for a moment costs a
repeated clean-up; exactness comes from constraints and conditional updates.
"""

from datetime import timedelta

from scheduling import chosen_backend, configuration
from scheduling.kept.documents import Lease
from scheduling.kept.protocol import Leases

TTL = timedelta(seconds=15)
"""After that time at most, another process takes over from one that died."""


def configured() -> Leases:
    """Make the provider that ``SCHEDULING_LEASES`` names; the default is the backend of the jobs.

    Raises ``BadSetting`` for an unknown name.
    """
    name = str(configuration.read("SCHEDULING_LEASES", "")) or chosen_backend.name()
    if name not in chosen_backend.KINDS:
        known = ", ".join(sorted(chosen_backend.KINDS))
        raise configuration.BadSetting(f"SCHEDULING_LEASES is {name!r}; it must be one of {known}.")
    return chosen_backend.current() if name == chosen_backend.name() else chosen_backend.make(name)


class Holder:
    """One process that wants a lease for as long as it lives."""

    def __init__(self, leases: Leases, name: str, owner: str, ttl: timedelta = TTL) -> None:
        self._leases = leases
        self._name, self._owner, self._ttl = name, owner, ttl
        self._lease: Lease | None = None

    def hold(self) -> bool:
        """Renew the lease, or take it if it is free; return whether it is held now.

        To be called more often than the lease lasts.
        """
        if self._lease is None or not self._leases.renew(self._lease):
            self._lease = self._leases.acquire(self._name, self._owner, self._ttl)
        return self._lease is not None

    def release(self) -> None:
        """Return the lease back, if it is held."""
        if self._lease is not None:
            self._leases.release(self._lease)
            self._lease = None
