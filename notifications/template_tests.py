"""An author's "send me a test": a version's preview, sent the way of every notification."""

from notifications import requests, submission
from notifications.errors import InvalidNotification
from templates_engine import catalog
from templates_engine.models import TemplateVersion
from templates_engine.preview import Preview


def send_preview(preview: Preview, recipient: str) -> str:
    """Send a version, a draft too, with its preview's context; gives what to tell the author."""
    version = TemplateVersion.objects.get(
        template__name=preview.template_name, number=preview.number
    )
    request = requests.read(
        {
            "channel": preview.channel,
            "recipient": recipient,
            "template": preview.template_name,
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
