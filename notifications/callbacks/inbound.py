"""``/webhooks/<account>``: where providers call us."""

import structlog
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from notifications.callbacks import receipts, replies
from notifications.channels.base import ForgedCallback, Receipt, Reply
from notifications.core.errors import TransientError, UnknownOutcome
from notifications.providers import accounts
from notifications.providers.instances import lend
from scheduling import isolation

log = structlog.get_logger(__name__)


@csrf_exempt
@require_http_methods(["POST", "HEAD"])
def callback(request: HttpRequest, name: str) -> HttpResponse:
    """Take receipts and replies; 403 for a forged call, 400 for one that cannot be read.

    503 for one whose signature cannot be checked now.
    An unknown message is not an error: the provider would only call again.
    """
    account = accounts.named(name)
    if account is None:
        return HttpResponse("There is no such account.\n", "text/plain", status=404)
    if request.method == "HEAD":  # some services ask whether we are there
        return HttpResponse()
    try:
        with lend(account) as provider:
            reports = provider.receipts(request)
    except ForgedCallback as error:
        log.warning("forged_callback", account=name, problem=str(error))
        return HttpResponse("The signature is missing or wrong.\n", "text/plain", status=403)
    except (TransientError, UnknownOutcome) as error:  # of a key that it asked the provider for
        log.warning("callback_not_checked", account=name, error=error.code)
        return HttpResponse("It cannot be stored now: try again later.\n", "text/plain", status=503)
    except Exception as error:
        if isolation.concerns_everybody(error):
            raise
        # Whatever it is, what was sent raised it; its text may hold a part of that.
        fault = isolation.fault_of(error, "callback")
        log.warning("callback_makes_no_sense", account=name, error=fault.error, at=fault.place)
        return HttpResponse("The callback cannot be read.\n", "text/plain", status=400)
    replies.take([report for report in reports if isinstance(report, Reply)], account=name)
    reports = [report for report in reports if isinstance(report, Receipt)]
    receipts.take(reports, account=name, channel=account.channel)
    return HttpResponse(status=204)
