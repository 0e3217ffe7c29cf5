"""What the list of schedules is filtered by: their state, and the groups of their definitions."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django_celery_beat.models import PeriodicTask

from scheduling import overdue, streaks, workers
from scheduling.clock import database_now
from scheduling.models import Schedule


class StateFilter(admin.SimpleListFilter):
    """Filters schedules by state."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            *(("planned", "planned"), ("paused", "paused")),
            *(("quarantined", "in quarantine"), ("overdue", "overdue")),
            *(("failing", "its last runs failed"), ("skipping", "its last times were skipped")),
            ("unknown", "no worker knows its task"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "planned":
                return queryset.filter(firing__next_fire_at__isnull=False)
            case "paused":
                return queryset.filter(enabled=False)
            case "quarantined":
                return queryset.filter(firing__quarantined_at__isnull=False)
            case "overdue":
                return queryset.filter(pk__in=overdue.keys(database_now()))
            case "failing":
                return queryset.filter(pk__in=streaks.failing().values("pk"))
            case "skipping":
                return queryset.filter(pk__in=streaks.skipping().values("pk"))
            case "unknown":
                enabled = PeriodicTask.objects.filter(enabled=True).order_by()
                tasks = enabled.values_list("task", flat=True).distinct()
                return queryset.filter(task__in=workers.unknown(tasks))
        return queryset


class GroupFilter(admin.SimpleListFilter):
    """Filters schedules by a group that their definition names, for actions on all of it."""

    title = "group"
    parameter_name = "group"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted({n for names in _groups().values() for n in names})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        group = self.value()
        if group is None:
            return queryset
        return queryset.filter(pk__in=[key for key, names in _groups().items() if group in names])


def _groups() -> dict[int, list[str]]:
    """Return the groups of each schedule that is in some."""
    rows = Schedule.objects.filter(groups__isnull=False).values_list("pk", "groups")
    return {
        key: [name for name in names if isinstance(name, str)]
        for key, names in rows
        if isinstance(names, list)
    }
