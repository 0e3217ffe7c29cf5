"""The root page: where everything is."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def root(request: HttpRequest) -> HttpResponse:
    """Link to what a person may want to open."""
    return render(
        request,
        "config/root.html",
        {
            "links": [
                ("/admin/", "Admin", "notifications, schedules, templates and failed deliveries"),
                ("/api/v1/docs", "API", "try each call from the browser"),
                ("/api/v1/openapi.json", "OpenAPI", "for client generators"),
                ("/healthz/ready", "Health", "database, broker and migrations"),
            ]
        },
    )
