"""The picture that a mail loads when it is opened."""

from base64 import b64decode

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_http_methods

from notifications.delivery import outcomes
from notifications.recipients import open_pixels

# A transparent GIF of one point.
PICTURE = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


@require_http_methods(["GET", "HEAD"])
def picture(request: HttpRequest, token: str) -> HttpResponse:
    """Note that a mail was opened, and answer with the picture; 404 for a forged address."""
    notification = open_pixels.read(token)
    if notification is None:
        return HttpResponse("There is no such picture.\n", "text/plain", status=404)
    if request.method == "GET":
        outcomes.confirm_read(notification)
    return HttpResponse(PICTURE, "image/gif", headers={"Cache-Control": "no-store"})
