"""The built-in outbox: keeps each message where a person can look at it, and sends nothing."""

from notifications.channels.base import Message, Provider
from notifications.models import OutboxMessage
from notifications.routing import CHANNELS


class OutboxProvider(Provider):
    """Captures a message; a second try at the same one changes nothing."""

    kind = "outbox"
    channels = CHANNELS

    def send(self, message: Message) -> str:
        OutboxMessage.objects.update_or_create(
            notification_id=message.id,
            defaults={
                "channel": message.channel,
                "recipient": message.recipient,
                "content": dict(message.content),
            },
        )
        return str(message.id)
