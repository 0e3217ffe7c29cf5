"""The web's addresses."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path

from config import pages, refusals

handler500 = refusals.server_error

# First, for they take the place of the admin's own login.
login = [path("accounts/", include("config.staff_login.urls"))] if settings.LOGIN_BY_ALLAUTH else []

urlpatterns = [
    *login,
    path("", pages.root),
    path("favicon.ico", pages.favicon),
    path("admin/", admin.site.urls),
    path("", include("notifications.urls")),
]
