"""The web's addresses: each room below brings its own."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from config import health, pages
from notifications import provider_callbacks, unsubscribe
from notifications.api.application import api

urlpatterns = [
    path("", pages.root),
    path("admin/", admin.site.urls),
    path("", include("notifications.admin.urls")),
    path("api/v1/", RedirectView.as_view(url="/api/v1/docs")),
    path("api/v1/", api.urls),
    path("webhooks/<str:name>", provider_callbacks.callback),
    path("unsubscribe/<str:token>", unsubscribe.page),
    path("healthz/live", health.live),
    path("healthz/ready", health.ready),
]
