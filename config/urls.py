"""The web's addresses."""

from django.contrib import admin
from django.urls import include, path

from config import pages, refusals

handler500 = refusals.server_error

urlpatterns = [
    path("", pages.root),
    path("admin/", admin.site.urls),
    path("", include("notifications.urls")),
]
