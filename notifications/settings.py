"""The settings of notifications, read from the environment. Each secret may come as ``NAME_FILE``.

The ready-made project (``config.settings``) takes them, and so does one of your own:

    from notifications.settings import *
    INSTALLED_APPS += NOTIFICATIONS_APPS

``docs/settings.md`` lists every name with its default.
"""

import os
from pathlib import Path
from typing import Any

from environs import validate

from notifications.core import private_files, roles, setting_values
from notifications.core.environment import (
    AT_LEAST_ONE,
    MOST_DAYS,
    NOT_NEGATIVE,
    PORT,
    POSITIVE,
    env,
    take_old_names,
)
from notifications.core.routing import CALLBACK_CHANNEL, CHANNELS, JOBS_QUEUE
from notifications.core.setting_values import (
    each,
    file,
    folder,
    folder_if_there,
    host,
    like,
    network,
    web_address,
)
from notifications.worker.queues import QUEUE_TYPES, queues
from scheduling import redis_address

take_old_names(os.environ)

# What only pages need: it has no tables, and a worker or a scheduler spares its memory.
_PAGES = ["unfold.apps.BasicAppConfig", "ninja"] if roles.shows_pages() else []
NOTIFICATIONS_APPS = [
    *_PAGES,
    "notifications.apps.AdminConfig",  # in place of django.contrib.admin
    "django_celery_beat",
    "django_celery_results",
    "templates_engine",
    "scheduling",
    "notifications",
]
# Before all others: a request's id is in each of its lines, and the API answers by itself.
NOTIFICATIONS_MIDDLEWARE = [
    "notifications.api.middleware.request_id",
    "notifications.api.middleware.api",
]

# Counts of processes that ended; in the ready-made project also its database and broker.
_var_dir = env.str("VAR_DIR", default="")
VAR_DIR = Path(_var_dir or Path.cwd() / "var")
try:
    (private_files.make if _var_dir else private_files.make_default)(VAR_DIR)
except OSError as error:
    raise SystemExit(f"Cannot make {VAR_DIR} ({error.strerror}): set VAR_DIR.") from None
except private_files.NotOwnFolder:
    raise SystemExit(
        f"{VAR_DIR} is not a folder that notifications made: set VAR_DIR to one of its own."
    ) from None

# --- Celery -------------------------------------------------------------------------------

BROKER_URL_DEFAULT = "redis://127.0.0.1:6379/0"
BROKER_URL = env.str("BROKER_URL", default=BROKER_URL_DEFAULT)
BROKER_IS_REDIS = BROKER_URL.partition("://")[0] in redis_address.SCHEMES
# RabbitMQ's: quorum queues are replicated. A queue that exists keeps the type it was made with.
BROKER_QUEUE_TYPE = env.str(
    "BROKER_QUEUE_TYPE", default="classic", validate=validate.OneOf(QUEUE_TYPES)
)
REDIS_URL = env.str("REDIS_URL", default=BROKER_URL if BROKER_IS_REDIS else "")
# Seconds that whoever accepts, counts or shares waits for a broker or a Redis that hangs.
BROKER_TIMEOUT = env.float("BROKER_TIMEOUT", default=0.8, validate=POSITIVE)

# Begins the name of every key of ours, where several systems share one database of a Redis.
REDIS_KEY_PREFIX = env.str("REDIS_KEY_PREFIX", default="")

try:
    _broker_address = redis_address.read(BROKER_URL) if BROKER_IS_REDIS else None
except redis_address.BadRedisAddress:  # reported by worker.checks
    _broker_address = None
CELERY_BROKER_URL = redis_address.for_kombu(BROKER_URL)
CELERY_WORKER_CONSUMER = "notifications.worker.consumer:Consumer"
CELERY_RESULT_BACKEND = "notifications.canvas.result_backend:ResultBackend"
CELERY_RESULT_EXTENDED = True
CELERY_TIMEZONE = env.zone("TIME_ZONE", default="UTC") or "UTC"
CELERY_ENABLE_UTC = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_TASK_QUEUES = queues(BROKER_QUEUE_TYPE)
CELERY_TASK_DEFAULT_QUEUE = JOBS_QUEUE
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TASK_ROUTES = ("notifications.core.routing.route_task",)
CELERY_TASK_ACKS_LATE = True
# A slot keeps its database connection; one that broke is replaced at its next use.
CELERY_DB_REUSE_MAX = 1_000_000_000
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_ACKS_ON_FAILURE_OR_TIMEOUT = True
CELERY_TASK_TRACK_STARTED = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SEND_TASK_EVENTS = True
CELERY_TASK_SEND_SENT_EVENT = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CHANNEL_ERROR_RETRY = True  # RabbitMQ refuses what it does not permit by one
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_TIMEOUT = 1.0
CELERY_TASK_PUBLISH_RETRY = False
# Shares of the slots while all queues have work; off: each queue gets a message in turn.
NOTIFICATIONS_WEIGHTS = {
    "high": env.float("NOTIFICATIONS_WEIGHT_HIGH", default=16.0, validate=POSITIVE),
    "medium": env.float("NOTIFICATIONS_WEIGHT_MEDIUM", default=4.0, validate=POSITIVE),
    "low": env.float("NOTIFICATIONS_WEIGHT_LOW", default=1.0, validate=POSITIVE),
}
# Seconds that a queue's oldest row may wait before its weight is doubled; 0: never.
NOTIFICATIONS_RAISE_AFTER = env.float(
    "NOTIFICATIONS_RAISE_AFTER", default=60.0, validate=NOT_NEGATIVE
)
# The part of a worker's slots that jobs hold at most while notifications wait.
NOTIFICATIONS_JOBS_SHARE = env.float(
    "NOTIFICATIONS_JOBS_SHARE", default=0.5, validate=validate.Range(min=0, max=1)
)
NOTIFICATIONS_FAIR_QUEUES = env.bool("NOTIFICATIONS_FAIR_QUEUES", default=True)
QUEUE_ORDER = (
    "notifications.queueing.queue_order:fair_order" if NOTIFICATIONS_FAIR_QUEUES else "round_robin"
)
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    {
        "visibility_timeout": 3600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "queue_order_strategy": QUEUE_ORDER,
        "priority_steps": [0],
        "socket_timeout": 5,
        "socket_connect_timeout": 1,
        "health_check_interval": 25,
        "global_keyprefix": REDIS_KEY_PREFIX,
        **(_broker_address.transport_options() if _broker_address else {}),
    }
    if BROKER_IS_REDIS
    else {"confirm_publish": True}
)
# A publisher must not wait for a broker that is away: the sweep publishes later.
PUBLISH_TRANSPORT_OPTIONS: dict[str, Any] = (
    {"socket_timeout": BROKER_TIMEOUT, "socket_connect_timeout": BROKER_TIMEOUT, "max_retries": 0}
    if BROKER_IS_REDIS
    else {"max_retries": 0, "read_timeout": BROKER_TIMEOUT, "write_timeout": BROKER_TIMEOUT}
)
# Which tasks may be scheduled by name, over HTTP too; patterns.
SCHEDULING_ALLOWED_TASKS = env.list(
    "SCHEDULING_ALLOWED_TASKS",
    default=["notifications.send_notification", "notifications.send_to_audience"],
)
# Where jobs of code are kept, who cleans up, and for how long ended fires are kept.
_BACKENDS = ("database", "redis", "memory")
SCHEDULING_BACKEND = (
    env.str("SCHEDULING_BACKEND", default="database", validate=validate.OneOf(_BACKENDS))
    or "database"  # the apps ask for it before a wrong one is reported
)
SCHEDULING_LEASES = env.str(
    "SCHEDULING_LEASES", default=SCHEDULING_BACKEND, validate=validate.OneOf(_BACKENDS)
)
SCHEDULING_FIRES_KEPT_DAYS = env.float(
    "SCHEDULING_FIRES_KEPT_DAYS", default=30.0, validate=validate.Range(0, MOST_DAYS)
)
# The folder of calendars (.ics) that jobs name.
SCHEDULING_CALENDARS = env.str("SCHEDULING_CALENDARS", default="", validate=folder) or ""
CELERY_BEAT_SCHEDULER = "scheduling.scheduler:Scheduler"

# Seconds that a worker may go on sending after SIGTERM, before it defers the remaining messages.
WORKER_SHUTDOWN_GRACE = env.float("WORKER_SHUTDOWN_GRACE", default=25.0, validate=NOT_NEGATIVE)
# The most seconds that it waits for running jobs: each may go on until its timeout, and one that
# has none until then. The orchestrator's stop period must be longer.
WORKER_SHUTDOWN_JOBS_GRACE = env.float(
    "WORKER_SHUTDOWN_JOBS_GRACE", default=120.0, validate=NOT_NEGATIVE
)

# --- Delivery (core.conf) --------------------------------------------------------------------

# Messages per queue that new notifications may put on the broker, and that the sweep keeps
# there for due rows; the rest of a backlog waits in the database.
NOTIFICATIONS_QUEUE_WINDOW = env.int(
    "NOTIFICATIONS_QUEUE_WINDOW", default=40, validate=AT_LEAST_ONE
)
NOTIFICATIONS_RELEASED_MESSAGES = env.int(
    "NOTIFICATIONS_RELEASED_MESSAGES", default=8, validate=AT_LEAST_ONE
)
# Rows that one message of the sweep stands for, by priority.
NOTIFICATIONS_BATCH = {
    "high": env.int("NOTIFICATIONS_BATCH_HIGH", default=20, validate=AT_LEAST_ONE),
    "medium": env.int("NOTIFICATIONS_BATCH_MEDIUM", default=100, validate=AT_LEAST_ONE),
    "low": env.int("NOTIFICATIONS_BATCH_LOW", default=500, validate=AT_LEAST_ONE),
}
# Seconds: that a message may be on its way before its row counts as due; that a claim lasts;
# that a provider has to answer; that one batch may hold a worker's slot; that a slot waits
# while the database is away. A lease must be longer than the provider's timeout and a batch's
# time limit together.
NOTIFICATIONS_PICKUP_GRACE = env.float("NOTIFICATIONS_PICKUP_GRACE", default=3.0, validate=POSITIVE)
NOTIFICATIONS_LEASE = env.float("NOTIFICATIONS_LEASE", default=60.0, validate=POSITIVE)
NOTIFICATIONS_PROVIDER_TIMEOUT = env.float(
    "NOTIFICATIONS_PROVIDER_TIMEOUT", default=15.0, validate=POSITIVE
)
NOTIFICATIONS_BATCH_TIME_LIMIT = env.float(
    "NOTIFICATIONS_BATCH_TIME_LIMIT", default=5.0, validate=POSITIVE
)
# Seconds that the receiver of a webhook or callback may take; it holds no slot for them.
NOTIFICATIONS_ENDPOINT_TIMEOUT = env.float(
    "NOTIFICATIONS_ENDPOINT_TIMEOUT", default=20.0, validate=POSITIVE
)
NOTIFICATIONS_DATABASE_BACKOFF = env.float(
    "NOTIFICATIONS_DATABASE_BACKOFF", default=1.0, validate=POSITIVE
)
# Notifications that a worker sends at most, like 5/s, 100/m or 5000/h; empty: no limit.
NOTIFICATIONS_SEND_RATE_LIMIT = env.str(
    "NOTIFICATIONS_SEND_RATE_LIMIT",
    default="100000/s",  # more than a worker can
    validate=validate.Regexp(
        r"^$|^[0-9]+(\.[0-9]+)?(/[smh])?$",
        error="Not a rate. Use a number per second, minute or hour: 5/s, 100/m or 5000/h.",
    ),
)
# Days after which finished notifications, and dead letters, are deleted; at least one.
NOTIFICATIONS_KEEP_DAYS = env.int(
    "NOTIFICATIONS_KEEP_DAYS", default=30, validate=validate.Range(1, MOST_DAYS)
)
NOTIFICATIONS_KEEP_FAILED_DAYS = env.int(
    "NOTIFICATIONS_KEEP_FAILED_DAYS", default=180, validate=validate.Range(1, MOST_DAYS)
)
NOTIFICATIONS_KEEP_MINUTE_COUNTS_DAYS = env.int(
    "NOTIFICATIONS_KEEP_MINUTE_COUNTS_DAYS", default=35, validate=validate.Range(1, MOST_DAYS)
)
# Months for which what leaves is kept in the archive, beside the one it ended in; 0: no archive.
NOTIFICATIONS_ARCHIVE_MONTHS = env.int(
    "NOTIFICATIONS_ARCHIVE_MONTHS", default=0, validate=validate.Range(0, MOST_DAYS // 31)
)
# Drop recipient's data (context, subject, body) from a row as soon as it was sent.
NOTIFICATIONS_FORGET_CONTENT = env.bool("NOTIFICATIONS_FORGET_CONTENT", default=False)

# Requests per second of an API key that has no rate of its own, and how deep its JSON may nest.
NOTIFICATIONS_API_RATE = env.int("NOTIFICATIONS_API_RATE", default=1000, validate=AT_LEAST_ONE)
NOTIFICATIONS_API_JSON_DEPTH = env.int(
    "NOTIFICATIONS_API_JSON_DEPTH", default=32, validate=AT_LEAST_ONE
)
# How large a batch may be that comes by HTTP.
NOTIFICATIONS_API_BATCH_ROWS = env.int(
    "NOTIFICATIONS_API_BATCH_ROWS", default=100_000, validate=AT_LEAST_ONE
)
NOTIFICATIONS_API_WRONG_KEYS_PER_MINUTE = env.int(
    "NOTIFICATIONS_API_WRONG_KEYS_PER_MINUTE", default=30, validate=AT_LEAST_ONE
)
NOTIFICATIONS_API_BATCH_BYTES = env.int(
    "NOTIFICATIONS_API_BATCH_BYTES", default=64_000_000, validate=AT_LEAST_ONE
)

# How many recipients a mail may have, with its copies, and how many bytes with its attachments.
NOTIFICATIONS_MAIL_RECIPIENTS = env.int(
    "NOTIFICATIONS_MAIL_RECIPIENTS", default=50, validate=AT_LEAST_ONE
)
NOTIFICATIONS_MAIL_BYTES = env.int(
    "NOTIFICATIONS_MAIL_BYTES", default=10_000_000, validate=AT_LEAST_ONE
)
# The headers that a mail may be given, * for any ending; those that the system writes never.
NOTIFICATIONS_MAIL_HEADERS = env.list(
    "NOTIFICATIONS_MAIL_HEADERS",
    default=[
        *("X-*", "In-Reply-To", "References", "Importance", "Priority", "Precedence", "Keywords"),
        *("Comments", "Organization", "Thread-Index", "Thread-Topic", "List-*"),
    ],
    validate=each(
        like(setting_values.HEADER_NAME_START, "Use the names of headers, * for any ending.")
    ),
)
# Attachments that are refused, by the ending of their name or by their type.
NOTIFICATIONS_MAIL_REFUSED_TYPES = env.list(
    "NOTIFICATIONS_MAIL_REFUSED_TYPES",
    default=[
        *(".ade", ".adp", ".apk", ".appx", ".bat", ".cab", ".chm", ".cmd", ".com", ".cpl", ".dll"),
        *(".dmg", ".exe", ".hta", ".ins", ".isp", ".iso", ".jar", ".js", ".jse", ".lib", ".lnk"),
        *(".mde", ".msc", ".msi", ".msix", ".msp", ".mst", ".pif", ".ps1", ".scr", ".sct", ".shb"),
        *(".sys", ".vb", ".vbe", ".vbs", ".vxd", ".wsc", ".wsf", ".wsh"),
        *("application/x-msdownload", "application/x-msdos-program"),
    ],
    validate=each(like(setting_values.FILE_KIND, "Use endings like .exe, or types.")),
)
# The name in STORAGES of where attachments are kept; empty: in the database.
NOTIFICATIONS_ATTACHMENT_STORAGE = env.str("NOTIFICATIONS_ATTACHMENT_STORAGE", default="")

# --- Providers ----------------------------------------------------------------------------

EMAIL_URL = env.str("EMAIL_URL", default="")
# Whom people may send tests of templates and accounts to, beside themselves; patterns.
TEST_RECIPIENTS: list[str] = env.list("TEST_RECIPIENTS", default=[])
# Whether the built-in outbox takes what nobody else carries, rather than that it is refused.
OUTBOX = env.bool("OUTBOX", default=False)
# Where the world reaches this system, for receipts and links to unsubscribe by.
SMS_HELP = env.str("SMS_HELP", default="")
# Further words that people stop and start with by SMS, beside those of callbacks.keywords.
SMS_STOP_WORDS: list[str] = env.list("SMS_STOP_WORDS", default=[])
SMS_START_WORDS: list[str] = env.list("SMS_START_WORDS", default=[])
PUBLIC_URL = env.str("PUBLIC_URL", default="").rstrip("/")
# Further senders that a mail may name, like shop@example.org, or @example.org for a domain.
EMAIL_SENDERS: list[str] = env.list("EMAIL_SENDERS", default=[])
# Where bounces go, like bounces@shop.example; empty: to the sender.
EMAIL_RETURN_PATH = env.str("EMAIL_RETURN_PATH", default="")
# The RSA key in PEM by which mail is signed (DKIM), and its selector; empty: not signed.
EMAIL_DKIM_KEY = env.str("EMAIL_DKIM_KEY", default="")
EMAIL_DKIM_SELECTOR = env.str("EMAIL_DKIM_SELECTOR", default="")
# A mailbox of bounces that manage.py receive_mail --mailbox reads: imaps://user:password@host/INBOX
BOUNCE_MAILBOX = env.str("BOUNCE_MAILBOX", default="")
EMAIL_FROM_DEFAULT = "notifications@localhost"
EMAIL_FROM = env.str("EMAIL_FROM", default=EMAIL_FROM_DEFAULT)
# The name by which mail servers are greeted; empty: this machine's own full name or address.
EMAIL_EHLO = env.str("EMAIL_EHLO", default="")
# Sign webhooks and callbacks; none: one is derived from SECRET_KEY (providers.accounts).
WEBHOOK_SECRETS: list[str] = env.list("WEBHOOK_SECRETS", default=[])
# Where the secrets of provider accounts may be: files below a folder, SECRET_… and these variables.
SECRETS_DIR = env.str("SECRETS_DIR", default="/run/secrets", validate=folder_if_there) or ""
SECRETS_NAMES: list[str] = (
    env.list(
        "SECRETS_NAMES",
        default=[],
        validate=each(like(setting_values.VARIABLE_NAME, "Use names of variables.")),
    )
    or []
)
WEBHOOK_ALLOW_PRIVATE_ADDRESSES = env.bool("WEBHOOK_ALLOW_PRIVATE_ADDRESSES", default=False)
# Names, addresses and networks that accounts may reach although they are private, like a relay's.
OUTGOING_PRIVATE_HOSTS: list[str] = (
    env.list("OUTGOING_PRIVATE_HOSTS", default=[], validate=each(network)) or []
)
SIMULATOR = env.str("SIMULATOR", default="")  # how the simulator behaves, like latency=0.1

FLOWER_URL = env.str("FLOWER_URL", default="", validate=web_address) or ""  # the admin's link

# --- The SMTP server ----------------------------------------------------------------------

SMTP_SERVER_HOST = env.str("SMTP_SERVER_HOST", default="127.0.0.1", validate=host) or ""
SMTP_SERVER_PORT = env.int("SMTP_SERVER_PORT", default=2525, validate=PORT)
# Its certificate and key, as files; without them it listens on this machine alone.
SMTP_SERVER_CERT = env.str("SMTP_SERVER_CERT", default="", validate=file) or ""
SMTP_SERVER_KEY = env.str("SMTP_SERVER_KEY", default="", validate=file) or ""
# TLS from the first byte (port 465), rather than by STARTTLS (port 587).
SMTP_SERVER_IMPLICIT_TLS = env.bool("SMTP_SERVER_IMPLICIT_TLS", default=False)
SMTP_SERVER_CONNECTIONS = env.int("SMTP_SERVER_CONNECTIONS", default=100, validate=AT_LEAST_ONE)

# --- Metrics ------------------------------------------------------------------------------

# Workers and schedulers answer scrapes on this port; web answers on /metrics of its own.
METRICS_PORT = env.int("METRICS_PORT", default=0, validate=PORT)  # 0: not at all
METRICS_HOST = env.str("METRICS_HOST", default="127.0.0.1", validate=host) or ""
# A bearer token; empty: in production this machine alone is answered, else anybody.
METRICS_TOKEN = (
    env.str(
        "METRICS_TOKEN",
        default="",
        validate=like(setting_values.HEADER_VALUE, "A header carries ASCII alone."),
    )
    or ""
)
# Whether requests, waits and calls of providers are traced by OpenTelemetry (extra otel), which
# reads its own variables OTEL_….
NOTIFICATIONS_TRACING = env.bool("NOTIFICATIONS_TRACING", default=False)

# --- Templates (templates_engine.conf) ------------------------------------------------------

TEMPLATES_CHANNELS = [channel for channel in CHANNELS if channel != CALLBACK_CHANNEL]
TEMPLATES_BASE_URL = (  # for {{ path|absolute }}
    env.str("TEMPLATES_BASE_URL", default="", validate=web_address) or ""
)
TEMPLATES_DEFAULT_LOCALE = env.str("TEMPLATES_DEFAULT_LOCALE", default="")  # LANGUAGE_CODE
TEMPLATES_TWO_PERSON_RULE = env.bool("TEMPLATES_TWO_PERSON_RULE", default=False)
TEMPLATES_MAX_SMS_SEGMENTS = env.int(
    "TEMPLATES_MAX_SMS_SEGMENTS", default=10, validate=AT_LEAST_ONE
)
TEMPLATES_KEEP_SMS_TYPOGRAPHY = env.bool("TEMPLATES_KEEP_SMS_TYPOGRAPHY", default=False)


# ``import *`` takes every name: settings only.
del Any, JOBS_QUEUE, Path, QUEUE_TYPES, env, os, queues, redis_address, roles
del each, file, folder, folder_if_there, host, like, network, web_address
del AT_LEAST_ONE, MOST_DAYS, NOT_NEGATIVE, PORT, POSITIVE, take_old_names, validate
