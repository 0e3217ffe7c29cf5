"""Rows that a shared loop passes over, because they faulted it again and again."""

from datetime import datetime
from typing import ClassVar, NamedTuple

from django.conf import settings
from django.db import models
from django.db.models import Count, Min, Q


class Quarantined(NamedTuple):
    """How many rows one loop passes over, and since when the first of them."""

    loop: str
    rows: int
    oldest: datetime


class QuarantinedRowQuerySet(models.QuerySet["QuarantinedRow"]):
    """Which of them are passed over."""

    def open(self) -> "QuarantinedRowQuerySet":
        """Rows in quarantine: passed over until somebody releases them."""
        return self.filter(quarantined_at__isnull=False, released_at__isnull=True)

    def passed_over(self, now: datetime) -> "QuarantinedRowQuerySet":
        """Rows in quarantine, and rows that faulted a moment ago and wait."""
        return self.filter(
            Q(quarantined_at__isnull=False) | Q(retry_at__gt=now), released_at__isnull=True
        )

    def by_loop(self) -> list[Quarantined]:
        """Count the rows in quarantine by loop, in one query."""
        found = self.open().values_list("loop").order_by("loop")
        return [
            Quarantined(*row) for row in found.annotate(Count("id"), oldest=Min("quarantined_at"))
        ]


class QuarantinedRow(models.Model):
    """A row that faulted a shared loop: why, how often, and whether the loop passes over it.

    After each fault it waits until ``retry_at``; after the third it is in quarantine, until
    somebody releases it. Nothing of the row but its key is kept here.
    """

    loop = models.CharField(max_length=40, help_text="The background loop that failed on the row.")
    key = models.CharField(max_length=64, help_text="The row's primary key.")
    stage = models.CharField(max_length=40, help_text="The stage of the work that failed.")
    reason = models.CharField(max_length=100, help_text="The class of the exception.")
    place = models.TextField(blank=True, help_text="Where in the code it was raised.")
    fault_count = models.PositiveIntegerField(
        default=0, help_text="How often it failed in succession."
    )
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    retry_at = models.DateTimeField(null=True, blank=True)
    quarantined_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    released_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = QuarantinedRowQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["loop", "key"], name="quarantined_row_once"),
        ]

    def __str__(self) -> str:
        return f"{self.loop}: {self.key}"
