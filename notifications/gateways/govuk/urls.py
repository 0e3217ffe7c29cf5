"""The addresses of GOV.UK Notify's v2 API: ``path("v2/", include("…govuk.urls"))``."""

from django.urls import path

from notifications.gateways.govuk import views

urlpatterns = [
    path("notifications/email", views.send_email),
    path("notifications/sms", views.send_sms),
    path("notifications/letter", views.send_letter),
    path("notifications/<uuid:notification_id>", views.get_notification),
    path("notifications", views.list_notifications),
    path("template/<str:template_id>", views.get_template),
    path("template/<str:template_id>/version/<int:number>", views.get_template),
    path("template/<str:template_id>/preview", views.preview_template),
    path("templates", views.list_templates),
    path("received-text-messages", views.list_received_texts),
    path("<path:rest>", views.nothing_here),
]
