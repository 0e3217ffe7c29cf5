"""What the recipient was, or will be, shown."""

from typing import Any

from notifications.channels import CHANNELS
from notifications.models import NotificationRecord, OutboxMessage
from notifications.recipients import own_links
from templates_engine import catalog
from templates_engine.errors import TemplateError


def of(notification: NotificationRecord) -> dict[str, Any]:
    """Return the parts of the content: as captured, else as its pinned version renders now.

    The version cannot change, so the second is what was sent, too.
    """
    captured = OutboxMessage.objects.filter(notification_id=notification.id).first()
    if captured:
        return dict(captured.content)
    if notification.template_version_id is not None:
        try:
            version = catalog.version(notification.template_version_id)
            to = (notification.channel, notification.recipient)
            owner = (notification.world, notification.recipient_key)
            links = own_links.of(version, notification.id, to, *owner)
            return dict(version.render(notification.context, notification.locale or None, links))
        except TemplateError as error:
            return {"render_error": str(error)}
    channel = CHANNELS[notification.channel]
    content = {channel.body_part: notification.body}
    if channel.subject_part:
        content[channel.subject_part] = notification.subject
    if notification.mail and notification.mail.fields.get("html"):
        content["html"] = notification.mail.fields["html"]
    return content
