"""Delivery windows, checked as the API checks them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from notifications.admin.project import TAKEN, ProjectFilter, is_taken
from notifications.core.errors import InvalidField, InvalidNotification
from notifications.models import DeliveryWindow
from notifications.models.delivery_window import DAYS, every_day
from notifications.recipients import windows
from notifications.submission import projects


class WindowForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs alone
    """A window; what is wrong stands beside its field."""

    days = forms.MultipleChoiceField(
        choices=[(day, day) for day in DAYS],
        initial=every_day,
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )

    class Meta:
        model = DeliveryWindow
        fields = ("project", "category", "template", *windows.FIELDS)

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
            row = DeliveryWindow(**{"test": self.instance.test, **data})
            windows.check(row)
            if is_taken(row, "category", "template", pk=self.instance.pk):
                raise InvalidField(TAKEN, field="category" if row.category else "template")
        except InvalidNotification as error:
            self.add_error(error.field if error.field in self.fields else None, str(error))
        return data


@admin.register(DeliveryWindow)
class DeliveryWindowAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """The hours at which a category or a template may reach people."""

    form = WindowForm
    list_display = ("__str__", "project", "holidays", "if_late")
    list_filter = ("if_late", ProjectFilter)
    search_fields = ("category", "template")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        super().save_model(request, obj, form, change)
        windows.forget()
