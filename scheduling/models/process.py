"""Schedulers and workers that were seen alive, and the leases that processes hold."""

from django.db import models


class SchedulerProcess(models.Model):
    """A scheduler that was seen alive; status counts those seen lately.

    ``seen_at`` is written by a thread of its own, ``ticked_at`` says when its loops last moved:
    a scheduler that hangs is seen and does not tick.
    """

    name = models.CharField(max_length=200, primary_key=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ticked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class WorkerProcess(models.Model):
    """A worker that was seen alive: which queues it consumes, and which tasks it can run."""

    name = models.CharField(max_length=255, primary_key=True)
    queues = models.JSONField(default=list)
    tasks = models.JSONField(default=list)
    slots = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class Lease(models.Model):
    """A named lease of the ``database`` provider."""

    name = models.CharField(max_length=100, primary_key=True)
    owner = models.CharField(max_length=200)
    expires_at = models.DateTimeField()
    token = models.BigIntegerField(
        default=0, db_default=0, help_text="Counts the holders: a later holder has a higher number."
    )

    def __str__(self) -> str:
        return f"{self.name} held by {self.owner}"
