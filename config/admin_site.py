"""How the admin looks, and where its pages lead to (django-unfold's setting)."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse, reverse_lazy
from django.utils.functional import lazy

_CHANGELIST = "admin:{}_changelist"
_FIRES = "admin:scheduling_fire_changelist"
_SCHEDULES = "admin:django_celery_beat_periodictask"


def _item(title: str, icon: str, where: str, permission: str = "") -> dict[str, Any]:
    item = {"title": title, "icon": icon, "link": reverse_lazy(where)}
    return item | {"permission": lambda request: _may(request, permission)} if permission else item


def _may(request: HttpRequest, permission: str) -> bool:
    return bool(request.user.has_perm(permission))


def _list(title: str, icon: str, model: str) -> dict[str, Any]:
    app, name = model.split(".")
    return _item(title, icon, _CHANGELIST.format(f"{app}_{name}"), f"{app}.view_{name}")


def _is_of_schedules(request: HttpRequest) -> bool:
    """Tell whether a page is one of schedules: that of calendars lies among them."""
    schedules, calendars = reverse(f"{_SCHEDULES}_changelist"), reverse(f"{_SCHEDULES}_calendars")
    return request.path.startswith(schedules) and request.path != calendars


def _failed_runs() -> str:
    return f"{reverse(_FIRES)}?failed=open"


def _is_of_failed_runs(request: HttpRequest) -> bool:
    return request.path == reverse(_FIRES) and request.GET.get("failed") == "open"


def _is_of_fires(request: HttpRequest) -> bool:
    return request.path.startswith(reverse(_FIRES)) and not _is_of_failed_runs(request)


ADMIN_SITE: dict[str, Any] = {
    "SITE_TITLE": "Notifications",
    "SITE_HEADER": "Notifications",
    "SITE_SYMBOL": "notifications",
    "SITE_URL": None,
    # The steps that white text stands on are dark enough to be read (WCAG 2.1, 4.5 : 1).
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.6)",
            "100": "oklch(93.2% .032 255.6)",
            "200": "oklch(88.2% .059 254.1)",
            "300": "oklch(80.9% .105 251.8)",
            "400": "oklch(70.7% .165 254.6)",
            "500": "oklch(62.3% .214 259.8)",
            "600": "oklch(54.6% .245 262.9)",
            "700": "oklch(48.8% .243 264.4)",
            "800": "oklch(42.4% .199 265.6)",
            "900": "oklch(37.9% .146 265.5)",
            "950": "oklch(28.2% .091 267.9)",
        }
    },
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            {
                "items": [
                    _item("Dashboard", "dashboard", "admin:index"),
                    _item("Find", "search", "find", "notifications.view_notification"),
                    _item("Send", "send", "send", "notifications.add_notification"),
                ],
            },
            {
                "title": "Delivery",
                "items": [
                    _list("Notifications", "mail", "notifications.notification"),
                    _list("Batches", "stacks", "notifications.batch"),
                    _list("Events", "sensors", "notifications.event"),
                    _list("Event rules", "rule", "notifications.eventrule"),
                    _list("Chains", "arrow_right_alt", "notifications.chain"),
                    _list("Chain runs", "history", "notifications.chainrun"),
                    _list("Holds", "pause_circle", "notifications.hold"),
                    _item(
                        "Failed deliveries",
                        "error",
                        "admin:notifications_faileddelivery_causes",
                        "notifications.view_faileddelivery",
                    ),
                    _list("Quarantine", "report", "notifications.quarantinedrow"),
                    _item("Outbox", "outbox", "outbox", "notifications.view_content"),
                    _list("Archive", "inventory_2", "notifications.archivednotification"),
                ],
            },
            {
                "title": "Recipients",
                "items": [
                    _list("Recipients", "contacts", "notifications.recipient"),
                    _list("Audiences", "filter_list", "notifications.audience"),
                    _list("Categories", "category", "notifications.category"),
                    _list("Delivery windows", "schedule", "notifications.deliverywindow"),
                    _list("Throttles", "speed", "notifications.throttle"),
                    _list("Suppressions", "do_not_disturb_on", "notifications.suppression"),
                ],
            },
            {
                "title": "Content",
                "items": [
                    _list("Templates", "article", "templates_engine.template"),
                    _list("Versions", "history", "templates_engine.templateversion"),
                    _list("Layouts and partials", "web", "templates_engine.partial"),
                ],
            },
            {
                "title": "Providers",
                "items": [
                    _list("Provider accounts", "hub", "notifications.provideraccount"),
                    _list("Rate limits", "speed", "notifications.ratelimit"),
                    _list("Queue weights", "balance", "notifications.queueweight"),
                ],
            },
            {
                "title": "Schedules",
                "items": [
                    {
                        **_list("Schedules", "schedule", "django_celery_beat.periodictask"),
                        "active": _is_of_schedules,
                    },
                    _item(
                        "Calendars",
                        "event",
                        f"{_SCHEDULES}_calendars",
                        "django_celery_beat.view_periodictask",
                    ),
                    {**_list("Fires", "bolt", "scheduling.fire"), "active": _is_of_fires},
                    {
                        **_list("Failed runs", "error", "scheduling.fire"),
                        "link": lazy(_failed_runs, str)(),
                        "active": _is_of_failed_runs,
                    },
                    _list("Job results", "task_alt", "django_celery_results.taskresult"),
                ],
            },
            {
                "title": "People",
                "items": [
                    _list("Users", "person", "auth.user"),
                    _list("Roles", "group", "auth.group"),
                    _list("Projects", "folder_shared", "notifications.project"),
                    _list("API keys", "key", "notifications.apikey"),
                    _item("Personal data", "badge", "personal-data", "config.forget_recipient"),
                    _list("Audit log", "policy", "config.auditentry"),
                ],
            },
        ],
    },
}
