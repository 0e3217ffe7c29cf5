"""The admin pages. Django finds the registrations here; each page has a file of its own."""

from typing import Any

from django.contrib import admin

from notifications.admin import (
    api_key,
    archived_notification,
    audience,
    batch,
    chain,
    chain_run,
    dashboard,
    delivery_window,
    event,
    failed_delivery,
    hold,
    notification,
    origin,
    project,
    providers,
    quarantine,
    recipient,
    results,
    schedule,
    throttle,
    users,
)
from scheduling.admin import fires

fires.made_by.append(origin.made_by)
site: Any = admin.site  # of ``admin_site``, which knows nothing of these pages
site.index_template = "notifications/admin/dashboard.html"
site.first_page = dashboard.first_page

__all__ = [
    "api_key",
    "archived_notification",
    "audience",
    "batch",
    "chain",
    "chain_run",
    "delivery_window",
    "event",
    "failed_delivery",
    "hold",
    "notification",
    "project",
    "providers",
    "quarantine",
    "recipient",
    "results",
    "schedule",
    "throttle",
    "users",
]
