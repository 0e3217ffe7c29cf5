"""Projects: who shares the system without seeing each other. One is made, and stays."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from notifications.models import Audience, Chain, DeliveryWindow, Project, Throttle
from notifications.submission import projects

TAKEN = "There is one of it already: change that one."


def is_taken(row: Audience | Chain | DeliveryWindow | Throttle, *names: str, pk: Any) -> bool:
    """Return whether a row other than ``pk`` has the same values as ``row``, in its world.

    Django does not ask: a form leaves out ``test``, a part of the constraint.
    """
    same = {name: getattr(row, name) for name in ("project", "test", *names)}
    return type(row).objects.filter(**same).exclude(pk=pk).exists()


@admin.register(Project)
class ProjectAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """Rows carry a project's name, so it keeps it and is not deleted."""

    list_display = ("name", "description", "created_at")
    fields = ("name", "description")

    def get_readonly_fields(self, request: HttpRequest, obj: Project | None = None) -> Any:
        return ("name",) if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Project | None = None) -> bool:
        return False


class ProjectFilter(admin.SimpleListFilter):
    """By project. The names come from their own table: another may have millions of rows."""

    title = "project"
    parameter_name = "project"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in projects.names()]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> "QuerySet[Any]":
        return queryset.filter(project=self.value()) if self.value() else queryset
