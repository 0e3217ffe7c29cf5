"""Where a notification comes from: links to its schedule, its batch, and what it is a replay of."""

from uuid import UUID

from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from notifications.batches import run_of
from notifications.models import Batch, NotificationRecord
from scheduling.models import Fire


def links(notification: NotificationRecord) -> SafeString | str:
    """Link to all that it comes from; a dash where somebody just asked for it."""
    found = []
    # A fire's id is its task's id, which becomes the notification's, or that of a batch's run.
    came_with = notification.batch_id
    batch = Batch.objects.filter(pk=came_with).first() if came_with else None
    run = run_of(batch) if batch else notification.id
    if fire := _fire(run):
        where = reverse("admin:scheduling_fire_change", args=[fire.pk])
        found.append(("schedule", where, fire.schedule.periodic_task.name))
    if batch:
        where = reverse("admin:notifications_batch_change", args=[batch.pk])
        found.append(("batch", where, str(batch)))
    if again := notification.replay_of_id:
        where = reverse("admin:notifications_notification_change", args=[again])
        found.append(("replay of", where, str(again)))
    if not found:
        return "-"
    return format_html_join(SafeString("<br>"), '{} <a class="seat-link" href="{}">{}</a>', found)


def _fire(run: UUID | None) -> Fire | None:
    if run is None:
        return None
    return Fire.objects.select_related("schedule__periodic_task").filter(pk=run).first()
