"""The shop's addresses."""

from django.contrib import admin
from django.urls import include, path
from orders import views

urlpatterns = [
    path("orders/", views.order),
    path("admin/", admin.site.urls),
    path("", include("notifications.urls")),
]
