"""What an operator opens beside the admin's own pages."""

from django.urls import path

from notifications.admin import batch, dashboard, finding, outbox, personal_data, sending
from notifications.monitoring import exposition

urlpatterns = [
    path("metrics", exposition.metrics),
    path("dashboard/live/", dashboard.live, name="dashboard-live"),
    path("dashboard/stream/", dashboard.stream, name="dashboard-stream"),
    path("send/", sending.page, name="send"),
    path("send/sheet/", sending.sheet, name="send-sheet"),
    path("find/", finding.page, name="find"),
    path("batches/<uuid:batch>/errors.csv", batch.report, name="batch-errors"),
    path("personal-data/", personal_data.page, name="personal-data"),
    path("outbox/", outbox.outbox, name="outbox"),
    path("outbox/<uuid:notification>/", outbox.message, name="outbox-message"),
]
