"""Throttles, checked as the API checks them."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminTextInputWidget

from notifications.admin.project import FormOfOne, ProjectFilter
from notifications.core.errors import InvalidField
from notifications.models import Throttle
from notifications.recipients import throttles


class ThrottleForm(FormOfOne):
    """A throttle; what is wrong stands beside its field."""

    known_by = ("category", "channel", "period", "local_day")
    period = forms.CharField(
        initial="1d",
        widget=UnfoldAdminTextInputWidget,
        help_text="A number of seconds, or a text like 30m, 1h or 7d, counted from the first "
        f'notification that the recipient gets; or "{throttles.DAY}": the calendar day where the '
        "recipient is.",
    )

    class Meta:
        model = Throttle
        fields = ("project", "category", "channel", *throttles.FIELDS)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.instance.pk and "period" in self.fields:
            self.initial["period"] = throttles.period_of(self.instance)

    def clean_period(self) -> int:
        """Return its seconds; whether it is a local day goes to the row."""
        try:
            seconds, self.instance.local_day = throttles.read_period(self.cleaned_data["period"])
        except InvalidField as error:
            raise forms.ValidationError(str(error)) from None
        return seconds

    def check_row(self, row: Any) -> None:
        throttles.check(row)


@admin.register(Throttle)
class ThrottleAdmin(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """How many of a category a recipient gets in a while."""

    form = ThrottleForm
    list_display = ("__str__", "project", "limit", "shown_period", "rest")
    list_filter = ("rest", ProjectFilter)
    search_fields = ("category", "template")

    @admin.display(description="Period")
    def shown_period(self, row: Throttle) -> str:
        period = throttles.period_of(row)
        return period if isinstance(period, str) else f"{period} s"

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        super().save_model(request, obj, form, change)
        throttles.forget()
