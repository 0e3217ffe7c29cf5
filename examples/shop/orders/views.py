"""What a customer does."""

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from notifications.submission import send
from orders.models import Order


@csrf_exempt
@require_POST
@transaction.atomic
def order(request: HttpRequest) -> JsonResponse:
    """Take an order: it and its notification are kept together, or neither is."""
    placed = Order.objects.create(customer=request.POST.get("customer", "ada@example.org"))
    message = send(
        channel="email",
        recipient=placed.customer,
        subject=f"Your order {placed.pk}",
        body="Thank you. We pack it now.",
        idempotency_key=f"order-{placed.pk}",
    )
    return JsonResponse({"order": placed.pk, "notification": str(message.id)}, status=201)
