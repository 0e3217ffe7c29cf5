"""The rows of a batch that were refused, each with its place, and what is wrong with it."""

from typing import ClassVar

from django.db import models

from notifications.models.batch import Batch


class RefusedRow(models.Model):
    """One row that a batch refused. It lives as long as its batch."""

    batch = models.ForeignKey(Batch, models.CASCADE, related_name="refused_rows", db_index=False)
    place = models.PositiveIntegerField(help_text="Among the rows, from 0.")
    line = models.PositiveIntegerField(
        null=True, help_text="The line of the CSV file on which the row ends."
    )
    field = models.CharField(max_length=255, blank=True, help_text="Which field is wrong.")
    error = models.CharField(max_length=100, help_text="The error's class.")
    detail = models.TextField(help_text="What is wrong, and how to mend it.")

    class Meta:
        ordering: ClassVar = ["batch", "place"]
        constraints: ClassVar = [
            # Its index also finds a batch's rows in order.
            models.UniqueConstraint(fields=["batch", "place"], name="refused_row_once"),
        ]

    def __str__(self) -> str:
        return f"row {self.place + 1}: {self.field}"
