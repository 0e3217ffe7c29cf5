"""The results of jobs (django-celery-results), shown as the other pages are."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django_celery_results.admin import GroupResultAdmin, TaskResultAdmin
from django_celery_results.models import GroupResult, TaskResult

from notifications.admin import disclosure
from notifications.admin.base import ReadOnlyAdmin

_PLAIN = (
    *("task_id", "task_name", "periodic_task_name", "status", "worker"),
    *("date_created", "date_started", "date_done"),
)

admin.site.unregister(TaskResult)
admin.site.unregister(GroupResult)


@admin.register(TaskResult)
class JobResultAdmin(ReadOnlyAdmin):
    """What jobs returned. A send's result is its notification."""

    list_display = ("task_name", "status", "periodic_task_name", "worker", "date_done")
    list_filter = ("status",)
    ordering = ("-id",)
    search_fields = ("=task_id",)
    search_help_text = "The exact task id."
    fieldsets = TaskResultAdmin.fieldsets

    def get_fieldsets(self, request: HttpRequest, obj: TaskResult | None = None) -> Any:
        """Leave out, for who may not see contents, what a job was given and gave."""
        if disclosure.may_see(request):
            return self.fieldsets
        return ((None, {"fields": _PLAIN}),)


@admin.register(GroupResult)
class JobGroupAdmin(ReadOnlyAdmin):
    """Groups of jobs."""

    list_display = ("group_id", "date_done")
    ordering = ("-id",)
    search_fields = ("=group_id",)
    fieldsets = GroupResultAdmin.fieldsets if GroupResultAdmin.fieldsets else None
