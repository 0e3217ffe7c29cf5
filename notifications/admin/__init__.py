"""The operator's seat. Django finds the registrations here; each page has a file of its own."""

from django.contrib import admin

from notifications.admin import (
    api_key,
    archived_notification,
    batch,
    failed_delivery,
    notification,
    providers,
    results,
    schedule,
    users,
)

admin.site.index_template = "notifications/admin/dashboard.html"

__all__ = [
    "api_key",
    "archived_notification",
    "batch",
    "failed_delivery",
    "notification",
    "providers",
    "results",
    "schedule",
    "users",
]
