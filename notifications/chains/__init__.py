"""Chains: a message goes by one way after the other until it reaches its recipient."""

from notifications.chains.definitions import save_chain
from notifications.chains.starting import Started, cancel_chain, send_chain

__all__ = ["Started", "cancel_chain", "save_chain", "send_chain"]
