"""Notifications: what they are, and how they are delivered (``docs/architecture.md``)."""
