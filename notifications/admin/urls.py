"""What an operator opens beside the admin's own pages."""

from django.urls import path

from notifications.admin import dashboard, outbox
from notifications.metrics import exposition

urlpatterns = [
    path("metrics", exposition.metrics),
    path("dashboard/live/", dashboard.live, name="dashboard-live"),
    path("outbox/", outbox.outbox, name="outbox"),
    path("outbox/<uuid:notification>/", outbox.message, name="outbox-message"),
]
