"""What an operator holds back, until it is released."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class Scope(models.TextChoices):
    """What a hold is about; its ``value`` names which."""

    EVERYTHING = "everything"  # no value
    CHANNEL = "channel"  # its name
    QUEUE = "queue"  # its name, such as email.low
    ACCOUNT = "account"  # a provider account's name: no message goes by it
    TEMPLATE = "template"  # its name, in every version
    SCHEDULE = "schedule"  # its name: what its fires have made


class Hold(models.Model):
    """Nothing that a hold covers is claimed while it is in force.

    Rows change through ``holds.hold`` and ``holds.release``. A released one stays until the rows
    that were parked for it are due again.
    """

    scope = models.CharField(max_length=10, choices=Scope.choices)
    value = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=255, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        db_index=False,  # each claim plans with this table
    )
    created_at = models.DateTimeField(db_default=Now())
    released_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering: ClassVar = ["scope", "value"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["scope", "value"], name="hold_once"),
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.value}".strip()
