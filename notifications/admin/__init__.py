"""The operator's seat. Django finds the registrations here; each page has a file of its own."""

from notifications.admin import failed_delivery, notification, results, users

__all__ = ["failed_delivery", "notification", "results", "users"]
