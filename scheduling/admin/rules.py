"""The rules that schedules share: searchable, as the schedule's form completes them."""

from django.contrib import admin
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    SolarSchedule,
)

from scheduling.admin.readable import ReadableAdmin

for model in (ClockedSchedule, CrontabSchedule, IntervalSchedule, SolarSchedule):
    admin.site.unregister(model)


@admin.register(ClockedSchedule)
class ClockedAdmin(ReadableAdmin):
    """Moments of one-off schedules."""

    fields = ("clocked_time",)
    search_fields = ("clocked_time",)
    show_full_result_count = False


@admin.register(CrontabSchedule)
class CrontabAdmin(ReadableAdmin):
    """Cron expressions."""

    list_display = ("__str__", "human_readable")
    fields = (
        "human_readable",
        ("minute", "hour", "day_of_month", "month_of_year", "day_of_week"),
        "timezone",
    )
    readonly_fields = ("human_readable",)
    search_fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone")
    show_full_result_count = False


@admin.register(IntervalSchedule)
class IntervalAdmin(ReadableAdmin):
    """Intervals."""

    search_fields = ("every", "period")
    show_full_result_count = False


@admin.register(SolarSchedule)
class SolarAdmin(ReadableAdmin):
    """Sunrises and sunsets."""

    search_fields = ("event", "latitude", "longitude")
    show_full_result_count = False
