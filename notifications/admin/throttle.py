"""Throttles, checked as the API checks them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from notifications.admin.project import FormOfOne, ProjectFilter
from notifications.models import Throttle
from notifications.recipients import throttles


class ThrottleForm(FormOfOne):
    """A throttle; what is wrong stands beside its field."""

    known_by = ("category", "channel")

    class Meta:
        model = Throttle
        fields = ("project", "category", "channel", *throttles.FIELDS)

    def check_row(self, row: Any) -> None:
        throttles.check(row)


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
