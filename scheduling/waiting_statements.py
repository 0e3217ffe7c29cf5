"""The signal of a session of Postgres whose statement waits; apart, for it needs Django."""

from django.dispatch import Signal

statement_waits = Signal()
"""Sent by a session of Postgres when a statement waits, although its server answers others."""
