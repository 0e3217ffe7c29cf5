"""Throttles, checked as the API checks them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from notifications.admin.project import TAKEN, ProjectFilter, is_taken
from notifications.core.errors import InvalidField, InvalidNotification
from notifications.models import Throttle
from notifications.recipients import throttles
from notifications.submission import projects


class ThrottleForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """A throttle; what is wrong stands beside its field."""

    class Meta:
        model = Throttle
        fields = ("project", "category", "channel", *throttles.FIELDS)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "project" in self.fields:
            names = [(name, name) for name in projects.names()]
            self.fields["project"] = forms.ChoiceField(
                choices=names, help_text=self.fields["project"].help_text
            )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if self.errors:
            return data
        try:
            row = Throttle(**{"test": self.instance.test, **data})
            throttles.check(row)
            if is_taken(row, "category", "channel", pk=self.instance.pk):
                raise InvalidField(TAKEN, field="category")
        except InvalidNotification as error:
            self.add_error(error.field if error.field in self.fields else None, str(error))
        return data


@admin.register(Throttle)
class ThrottleAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """How many of a category a recipient gets in a while."""

    form = ThrottleForm
    list_display = ("__str__", "project", "limit", "period", "rest")
    list_filter = ("rest", ProjectFilter)
    search_fields = ("category", "template")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        super().save_model(request, obj, form, change)
        throttles.forget()
