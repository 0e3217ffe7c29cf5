"""Which acts are written to the audit log: the one place that lists what is not, and what is read.

Whatever is not named here and could change something is written: a new page, operation or command
is in the log from its first day. The walk in the tests asks that each is known.
"""

import re

# --- Pages of the admin --------------------------------------------------------------------

# Pages that change nothing by POST, by the name of their URL.
HARMLESS_PAGES = frozenset({"login", "jsi18n", "autocomplete", "view_on_site"})

# Models whose pages show contents, recipients or people: looking at one is an act.
REVEALING = frozenset(
    {
        "notifications.notification",
        "notifications.archivednotification",
        "notifications.chainrun",
        "notifications.event",
        "notifications.faileddelivery",
        "notifications.recipient",
        "notifications.suppression",
        "notifications.outboxmessage",
        "django_celery_results.taskresult",
        "django_celery_beat.periodictask",
        "auth.user",
        "config.auditentry",
    }
)

# Rows that a page edits beside its own: their state is a part of its row's.
EDITED_BESIDE = frozenset({"notifications.accountrule", "scheduling.schedule"})

# Pages beside the admin's own that show contents, by the name of their URL.
REVEALING_PAGES = frozenset({"outbox", "outbox-message", "batch-errors", "personal-data", "find"})

# --- Operations of the API -------------------------------------------------------------------

# Its notification is the record of a send: who sent it, when, and what; so is an event's row.
UNWRITTEN_OPERATIONS = frozenset(
    {"create_notification", "create_event", "preview_template"}
    | {"start_chain", "read_notification"}
)

# Operations that read what concerns nobody: how much, how fast, which templates there are. All
# others that read reveal contents, recipients or what servers said of them.
PLAIN_OPERATIONS = frozenset(
    {
        *("list_batches", "get_batch", "list_causes", "get_bulk_replay", "list_failed_run_causes"),
        *("get_job_schema", "list_next_fires", "list_fires", "list_providers", "list_queues"),
        *("list_templates", "get_template", "get_version", "get_problem"),
        *("list_event_rules", "get_event_rule", "list_categories"),
        *("list_windows", "list_audiences", "get_audience", "list_throttles"),
    }
)

# Operations of GOV.UK Notify's clients that show contents or recipients; sends are records.
REVEALING_CLIENT_OPERATIONS = frozenset({"get_notification", "list_notifications"})

# What a path of the API is about: its first words, the model, and the column that names a row.
OBJECTS = (
    ("notifications/batch", "notifications.batch", "id"),
    ("notifications", "notifications.notification", "id"),
    ("jobs", "django_celery_beat.periodictask", "id"),
    ("failed-runs", "scheduling.fire", "id"),
    ("failed-deliveries", "notifications.faileddelivery", "id"),
    ("suppressions", "notifications.suppression", "id"),
    ("recipients", "notifications.recipient", "key"),
    ("categories", "notifications.category", "name"),
    ("delivery-windows", "notifications.deliverywindow", "id"),
    ("chains", "notifications.chain", "name"),
    ("chain-runs", "notifications.chainrun", "id"),
    ("audiences", "notifications.audience", "name"),
    ("throttles", "notifications.throttle", "id"),
    ("events", "notifications.event", "id"),
    ("event-rules", "notifications.eventrule", "id"),
    ("templates", "templates_engine.template", "name"),
)

# --- Commands of manage.py ---------------------------------------------------------------------

UNWRITTEN_COMMANDS = frozenset(
    {
        *("help", "version", "check", "compilemessages", "diffsettings", "makemessages"),
        *("makemigrations", "optimizemigration", "squashmigrations", "migrate", "showmigrations"),
        *("sqlmigrate", "sqlflush", "sqlsequencereset", "inspectdb", "startapp", "startproject"),
        *("test", "testserver", "runserver", "collectstatic", "findstatic", "status", "doctor"),
        *("scheduler_health",),
    }
)

# Commands whose arguments say what was done, and hold nobody's address or content.
SHOWN_ARGUMENTS = frozenset(
    {"allocation", "hold", "release", "replay", "prune", "prune_schedules", "create_api_key"}
)

# --- What a row's columns show -----------------------------------------------------------------

# Columns of text or JSON that are written as they are, without addresses; the rest is masked.
SHOWN_COLUMNS = frozenset(
    {
        *("name", "username", "codename", "prefix", "scopes", "rate", "rate_limit", "queue"),
        *("scope", "value", "settings", "secrets", "task", "channel", "kind", "description"),
        *("reason", "minute", "hour", "day_of_week", "day_of_month", "month_of_year"),
        *("timezone", "period", "event", "resolution", "fingerprint", "checksum", "source"),
    }
)
MASKED_MODELS = frozenset({"templates_engine.partial"})  # whose ``source`` is content

# Counters and times that move by themselves are nobody's act.
UNWRITTEN_COLUMNS = re.compile(
    r"last_used_at|last_login|updated_at|last_run_at|date_changed|total_run_count"
)
