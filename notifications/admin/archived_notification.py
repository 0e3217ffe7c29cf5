"""Archived notifications: what left the live table, read as it was read there."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from notifications.admin.project import ProjectFilter
from notifications.admin.record import RecordAdmin
from notifications.models import ArchivedNotification, NotificationRecord


@admin.register(ArchivedNotification)
class ArchivedNotificationAdmin(RecordAdmin):
    """Read-only; the attempts are part of the story above."""

    list_filter = ("status", "channel", "priority", ProjectFilter)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: Any = None
    ) -> NotificationRecord | None:
        """Return the newest of an id: a caller may choose one again that left long ago."""
        try:
            return self.get_queryset(request).filter(pk=object_id).order_by("-finished_at").first()
        except ValidationError:  # not an id
            return None
