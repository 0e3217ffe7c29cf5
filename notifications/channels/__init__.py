"""The channels: what kinds of address there are. A plain dict is the registry."""

from notifications.channels import recipients
from notifications.channels.base import Channel

CHANNELS: dict[str, Channel] = {
    channel.name: channel
    for channel in (
        Channel(
            "email",
            recipients.email,
            subject_part="subject",
            body_part="text",
            single_line=("subject",),
        ),
        Channel("sms", recipients.phone, body_part="text"),
        Channel(
            "push",
            recipients.token,
            subject_part="title",
            body_part="body",
            single_line=("title",),
            is_mixed=True,
        ),
        Channel("webhook", recipients.url, subject_part="subject", body_part="body"),
        Channel("chat", recipients.token, body_part="text", is_mixed=True),
        Channel("callback", recipients.url, subject_part="subject", body_part="body"),
        Channel("simulator", recipients.token, subject_part="subject", body_part="body"),
    )
}
