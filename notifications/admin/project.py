"""Projects: who shares the system without seeing each other. One is made, and stays."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from notifications.core.errors import InvalidField, InvalidNotification
from notifications.models import Project
from notifications.submission import projects

TAKEN = "There is a row with these values already: change that one."


class FormOfProject(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """A form whose row belongs to one of the projects that there are."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "project" in self.fields:
            names = [(name, name) for name in projects.names()]
            self.fields["project"] = forms.ChoiceField(
                choices=names, help_text=self.fields["project"].help_text
            )


class FormOfOne(FormOfProject):
    """A form of what a project has once under its names; what is wrong stands beside its field."""

    known_by: ClassVar[tuple[str, ...]]
    """The fields that tell it from others of its project."""

    def check_row(self, row: Any) -> None:
        """Check a row as the API does. Raises an ``InvalidNotification`` that names the field."""
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if self.errors:
            return data
        kept = {name: getattr(self.instance, name) for name in ("project", "test", *self.known_by)}
        try:
            row = self._meta.model(**{**kept, **data})
            self.check_row(row)
            if self._is_taken(row):
                named = next(name for name in self.known_by if getattr(row, name))
                raise InvalidField(TAKEN, field=named)
        except InvalidNotification as error:
            field = error.field.partition(".")[0]
            place = f"{error.field}: " if field != error.field else ""
            self.add_error(field if field in self.fields else None, f"{place}{error}")
        return data

    def _is_taken(self, row: Any) -> bool:
        """Return whether another row has its names, which Django does not ask.

        A form leaves out ``test``, a part of the constraint.
        """
        same = {name: getattr(row, name) for name in ("project", "test", *self.known_by)}
        others = self._meta.model.objects.filter(**same).exclude(pk=self.instance.pk)
        return bool(others.exists())


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
