"""The built-in outbox: keeps each message where a person can look at it, and sends nothing."""

from notifications.channels import mail, options
from notifications.channels.base import Message, Provider
from notifications.core.routing import CHANNELS
from notifications.models import OutboxMessage


class OutboxProvider(Provider):
    """Captures a message; a second try at the same one changes nothing."""

    kind = "outbox"
    channels = CHANNELS
    option_names = options.ALL
    mail_fields = frozenset(mail.FIELDS)
    waits = False

    def send(self, message: Message) -> str:
        OutboxMessage.objects.update_or_create(
            notification_id=message.id,
            defaults={
                "channel": message.channel,
                "recipient": message.recipient,
                "content": mail.described(message.content),
            },
        )
        return str(message.id)
