"""Events: what other systems report, and the rules that say which notifications follow."""

from notifications.events.emission import Emission, emit

__all__ = ["Emission", "emit"]
