"""Probing an account at once whose circuit is open: an operator knows that its provider is back."""

from datetime import timedelta

from notifications.db import clock
from notifications.operations import holds
from notifications.providers import health


def probe_now(name: str) -> bool:
    """Let one waiting message try the account now; False if its circuit is closed.

    Its success closes the circuit, and what else waits follows; its failure opens it again.
    """
    if not health.end_cooldown(name):
        return False
    holds.wake(clock.now() + timedelta(seconds=health.LONGEST_COOLDOWN))
    return True
