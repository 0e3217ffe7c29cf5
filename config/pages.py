"""The root page: where everything is; and what browsers ask for beside it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def favicon(request: HttpRequest) -> HttpResponse:
    """Answer 204, which browsers keep for a day: the project has no icon."""
    return HttpResponse(status=204, headers={"Cache-Control": "public, max-age=86400"})


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
