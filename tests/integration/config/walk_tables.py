"""Every page and action of the admin, and who may look at it or do it.

V, A, O and D are the viewer, the author, the operator and the admin.
"""

from typing import Any

from django.urls import reverse

from notifications.admin.urls import urlpatterns
from tests import roles

LETTERS = dict(zip("VAOD", roles.NAMES, strict=True))
ALL = "VAOD"
STAFF = object()  # whoever may log in, of no role, too

# Who may see, add, change and delete rows by forms.
MODELS = {
    "auth.group": ("D", "D", "D", "D"),
    "auth.user": ("D", "D", "D", "D"),
    "config.auditentry": ("D", "", "", ""),
    "django_celery_beat.clockedschedule": (ALL, "D", "D", "D"),
    "django_celery_beat.crontabschedule": (ALL, "D", "D", "D"),
    "django_celery_beat.intervalschedule": (ALL, "D", "D", "D"),
    "django_celery_beat.periodictask": (ALL, "D", "D", "D"),
    "django_celery_beat.solarschedule": (ALL, "D", "D", "D"),
    "django_celery_results.groupresult": (ALL, "", "", ""),
    "django_celery_results.taskresult": (ALL, "", "", ""),
    "notifications.apikey": ("D", "D", "D", ""),
    "notifications.archivednotification": (ALL, "", "", ""),
    "notifications.audience": (ALL, "OD", "OD", "OD"),
    "notifications.batch": (ALL, "", "", ""),
    "notifications.bulkreplay": (ALL, "", "", ""),
    "notifications.category": (ALL, "D", "D", "D"),
    "notifications.chain": (ALL, "D", "D", "D"),
    "notifications.chainrun": (ALL, "", "", ""),
    "notifications.deliverywindow": (ALL, "D", "D", "D"),
    "notifications.event": (ALL, "", "", ""),
    "notifications.eventrule": (ALL, "D", "D", "D"),
    "notifications.faileddelivery": (ALL, "", "", ""),
    "notifications.hold": (ALL, "OD", "", ""),
    "notifications.notification": (ALL, "", "", ""),
    "notifications.project": ("D", "D", "D", ""),
    "notifications.provideraccount": (ALL, "D", "D", "D"),
    "notifications.quarantinedrow": (ALL, "", "", ""),
    "notifications.queueweight": (ALL, "OD", "OD", "OD"),
    "notifications.ratelimit": (ALL, "D", "D", "D"),
    "notifications.recipient": (ALL, "OD", "OD", "OD"),
    "notifications.suppression": (ALL, "OD", "", ""),
    "notifications.throttle": (ALL, "D", "D", "D"),
    "scheduling.fire": (ALL, "", "", ""),
    "templates_engine.partial": (ALL, "AD", "AD", "AD"),
    "templates_engine.template": (ALL, "AD", "AD", ""),
    "templates_engine.templateversion": (ALL, "", "AD", "AD"),
}

# Pages that are read.
PAGES = {
    "index": ALL,
    "search": ALL,
    "password_change": ALL,
    "password_change_done": ALL,
    "jsi18n": ALL,
    "auth_user_password_change": "D",
    "config_auditentry_export": "D",
    "django_celery_beat_periodictask_outlook": ALL,
    "django_celery_beat_periodictask_calendars": ALL,
    "notifications_template_variables": ALL,
    "notifications_faileddelivery_causes": ALL,
    "templates_engine_templateversion_preview_page": ALL,
    "templates_engine_templateversion_preview": ALL,
    "templates_engine_templateversion_compare_page": ALL,
    "templates_engine_templateversion_compare": ALL,
    "dashboard-live": ALL,
    "dashboard-stream": ALL,
    "find": ALL,
    "notifications_batch_progress": ALL,
    "send": "OD",
    "send-sheet": "OD",
    "outbox": "OD",
    "outbox-message": "OD",
    "batch-errors": ALL,
    "personal-data": "D",
}
# Pages that show nothing of anybody, which every member of staff may open.
FOR_STAFF = {
    *("index", "search", "password_change", "password_change_done", "jsi18n"),
    *("dashboard-live", "dashboard-stream"),
}
# Pages that every visitor may open, and those that only lead on.
OPEN = {"login", "logout", "autocomplete", "view_on_site", "app_list"}

# Actions of a row's page.
ROW_ACTIONS = {
    "django_celery_beat_periodictask_pause": "OD",
    "django_celery_beat_periodictask_resume": "OD",
    "django_celery_beat_periodictask_run": "OD",
    "django_celery_beat_periodictask_backfill": "OD",
    "django_celery_beat_periodictask_duplicate": "D",
    "notifications_faileddelivery_replay_cause": "OD",
    "notifications_faileddelivery_discard_cause": "OD",
    "notifications_faileddelivery_replay": "OD",
    "notifications_faileddelivery_discard": "OD",
    "notifications_notification_cancel": "OD",
    "notifications_notification_resend": "OD",
    "notifications_notification_suppress": "OD",
    "notifications_batch_pause_it": "OD",
    "notifications_batch_resume_it": "OD",
    "notifications_batch_cancel_it": "OD",
    "notifications_provideraccount_send_test": "D",
    "notifications_provideraccount_probe": "OD",
    "notifications_provideraccount_hold": "OD",
    "notifications_provideraccount_release_account": "OD",
    "templates_engine_template_new_version": "AD",
    "templates_engine_template_withdraw": "AD",
    "templates_engine_templateversion_ask": "AD",
    "templates_engine_templateversion_publish": "AD",
    "templates_engine_templateversion_roll_back": "AD",
}

# Actions on chosen rows of a list.
ACTIONS = {
    ("django_celery_beat.periodictask", "pause_selected"): "OD",
    ("django_celery_beat.periodictask", "resume_selected"): "OD",
    ("django_celery_beat.periodictask", "run_selected"): "OD",
    ("notifications.apikey", "rotate"): "D",
    ("notifications.apikey", "revoke"): "D",
    ("notifications.batch", "pause"): "OD",
    ("notifications.batch", "resume"): "OD",
    ("notifications.batch", "cancel"): "OD",
    ("notifications.faileddelivery", "replay_selected"): "OD",
    ("notifications.hold", "release"): "OD",
    ("notifications.notification", "cancel_selected"): "OD",
    ("notifications.notification", "resend_selected"): "OD",
    ("notifications.quarantinedrow", "release"): "OD",
    ("notifications.suppression", "lift"): "OD",
    ("scheduling.fire", "replay_selected"): "OD",
    ("scheduling.fire", "replay_causes"): "OD",
    ("scheduling.fire", "discard_selected"): "OD",
}

BESIDE_ADMIN = {name for url in urlpatterns if (name := getattr(url, "name", None))}


def label(model: Any) -> Any:
    return model._meta.label_lower


def page_of(model: Any, verb: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{verb}", args=args)


def where_of(name: str, args: Any) -> str:
    return reverse(name if name in BESIDE_ADMIN else f"admin:{name}", args=args)
