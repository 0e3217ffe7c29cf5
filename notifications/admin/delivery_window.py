"""Delivery windows, checked as the API checks them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from notifications.admin.project import FormOfOne, ProjectFilter
from notifications.models import DeliveryWindow
from notifications.models.delivery_window import DAYS, every_day
from notifications.recipients import windows


class WindowForm(FormOfOne):
    """A window; what is wrong stands beside its field."""

    days = forms.MultipleChoiceField(
        choices=[(day, day) for day in DAYS],
        initial=every_day,
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )

    known_by = ("category", "template")

    class Meta:
        model = DeliveryWindow
        fields = ("project", "category", "template", *windows.FIELDS)

    def check_row(self, row: Any) -> None:
        windows.check(row)


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
