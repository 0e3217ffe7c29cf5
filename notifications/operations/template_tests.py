"""An author's "send me a test": a version's preview, sent the way of every notification."""

from django.contrib.auth.base_user import AbstractBaseUser

from notifications import submission
from notifications.core.errors import InvalidNotification
from notifications.core.world import World
from notifications.operations import tried_recipients
from notifications.submission import requests
from templates_engine import catalog
from templates_engine.models import TemplateVersion
from templates_engine.preview import Preview


def send_preview(preview: Preview, recipient: str, by: AbstractBaseUser) -> str:
    """Send a version, also a draft, with its preview's context; return a message to the author.

    A test goes to the author's own address, or to one that the settings list.
    """
    try:
        recipient = tried_recipients.allowed(preview.channel, recipient, by)
    except InvalidNotification as error:
        return f"Nothing was sent: {error}"
    version = TemplateVersion.objects.get(
        template__namespace=preview.namespace,
        template__name=preview.template_name,
        number=preview.number,
    )
    request = requests.read(
        {
            "channel": preview.channel,
            "recipient": recipient,
            "template": preview.template_name,
            **World.of(preview.namespace).columns,
            "context": preview.context,
            "locale": preview.locale,
            "priority": "high",
            "reference": f"test of {preview.template_name} version {preview.number}",
        }
    )
    try:
        sent = submission.submit(request, version=catalog.version(version.pk))
    except InvalidNotification as error:
        return f"Nothing was sent: {error}"
    return f"On its way to {recipient} as notification {sent.id}."
