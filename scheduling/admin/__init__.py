"""Django admin: django-celery-beat's own pages, with policy, next fires and the ledger."""

from scheduling.admin import fires, rules, schedules

__all__ = ["fires", "rules", "schedules"]
