"""Where a notification comes from, and what a fire has made: links between their pages."""

from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from notifications.models import Batch, ChainRun, Notification, NotificationRecord
from notifications.operations.batches import name_for, run_of
from scheduling.models import Fire


def links(notification: NotificationRecord) -> SafeString | str:
    """Link to all that it comes from; a dash where somebody just asked for it."""
    found = []
    # A fire's id is its task's id, which becomes the notification's, or that of a batch's run.
    came_with = notification.batch_id
    batch = Batch.objects.filter(pk=came_with).first() if came_with else None
    run = run_of(batch) if batch else notification.id
    for fire, schedule in _fires(run):
        where = reverse("admin:scheduling_fire_change", args=[fire])
        found.append(("schedule", where, schedule))
    if batch:
        where = reverse("admin:notifications_batch_change", args=[batch.pk])
        found.append(("batch", where, str(batch)))
    for chain_run in ChainRun.objects.filter(pk__in=filter(None, [notification.chain_run])):
        where = reverse("admin:notifications_chainrun_change", args=[chain_run.pk])
        found.append((f"step {notification.chain_step} of", where, str(chain_run)))
    if again := notification.replay_of_id:
        where = reverse("admin:notifications_notification_change", args=[again])
        found.append(("replay of", where, str(again)))
    if not found:
        return "-"
    return format_html_join(SafeString("<br>"), '{} <a class="ntf-link" href="{}">{}</a>', found)


def _fires(run: UUID | None) -> list[tuple[UUID, str]]:
    """Return the fire of a run, if it has one, and the name of its schedule."""
    if run is None:
        return []
    fires = Fire.objects.filter(pk=run, schedule__periodic_task__isnull=False)
    return list(fires.values_list("pk", "schedule__periodic_task__name"))


def made_by(fire: Fire) -> list[tuple[str, str]]:
    """Return the notification or the batch that a fire has made, as text and address."""
    made = []
    if Notification.objects.filter(pk=fire.pk).exists():
        where = reverse("admin:notifications_notification_change", args=[fire.pk])
        made.append((f"notification {fire.pk}", where))
    for batch in Batch.objects.filter(name=name_for(str(fire.pk))):
        where = reverse("admin:notifications_batch_change", args=[batch.pk])
        made.append((f"batch {batch}", where))
    return made
