"""The addresses of notifications: ``path("", include("notifications.urls"))``."""

from django.urls import include, path
from django.views.generic import RedirectView

from notifications.api.application import api
from notifications.callbacks import inbound, opened_page, preference_page, unsubscribe_page
from notifications.monitoring import health

urlpatterns = [
    path("api/v1/", RedirectView.as_view(url="/api/v1/docs")),
    path("api/v1/", api.urls),
    path("", include("notifications.admin.urls")),
    path("v2/", include("notifications.gateways.govuk.urls")),
    path("webhooks/<str:name>", inbound.callback),
    path("preferences/<str:token>", preference_page.page),
    path("opened/<str:token>.gif", opened_page.picture),
    path("unsubscribe/<str:token>", unsubscribe_page.page),
    path("healthz/live", health.live),
    path("healthz/ready", health.ready),
]
