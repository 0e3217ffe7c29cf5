"""Filters of large tables: each narrows by an index, or by what is newest."""

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from notifications.db import clock
from templates_engine.models import Template, TemplateVersion

SPANS = {
    "hour": ("the last hour", timedelta(hours=1)),
    "day": ("the last day", timedelta(days=1)),
    "week": ("the last week", timedelta(days=7)),
}


class TimeFilter(admin.SimpleListFilter):
    """By when they were accepted."""

    title = "accepted in"
    parameter_name = "within"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        return [(name, words) for name, (words, _) in SPANS.items()]

    def queryset(self, _: HttpRequest, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        if self.value() not in SPANS:
            return rows
        return rows.filter(created_at__gte=clock.now() - SPANS[str(self.value())][1])


class TemplateFilter(admin.SimpleListFilter):
    """By template, through the ids of its versions."""

    title = "template"
    parameter_name = "template"

    def lookups(self, *_: Any) -> list[tuple[str, str]]:
        names = Template.objects.exclude(namespace__endswith=":test").order_by("name")
        return [(name, name) for name in names.values_list("name", flat=True).distinct()[:200]]

    def queryset(self, _: HttpRequest, rows: "QuerySet[Any]") -> "QuerySet[Any]":
        if not self.value():
            return rows
        versions = TemplateVersion.objects.filter(template__name=self.value())
        return rows.filter(template_version__in=list(versions.values_list("pk", flat=True)))
