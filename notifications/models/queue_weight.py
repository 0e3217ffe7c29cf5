"""An operator's own share for a queue."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from notifications.core import routing


class QueueWeight(models.Model):
    """How often a queue is served beside the others; it overrides the weight of its priority."""

    queue = models.CharField(
        max_length=40,
        unique=True,
        choices=[(name, name) for name in (*routing.QUEUE_NAMES, routing.JOBS_QUEUE)],
    )
    weight = models.FloatField(
        validators=[MinValueValidator(0.1), MaxValueValidator(1000)],
        help_text="16 is usual for high, 4 for medium and 1 for low.",
    )
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.queue}: {self.weight:g}"
