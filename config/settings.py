"""Settings, read from the environment. Each secret may come as ``NAME_FILE``.

``docs/settings.md`` lists every name with its default.
"""

import socket
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.core.management.utils import get_random_secret_key
from environs import validate

from config.admin_site import ADMIN_SITE
from config.environment import UNUSABLE_DATABASE, bad_values, env
from config.logs import logging_config
from config.queues import QUEUE_TYPES, queues
from notifications.routing import JOBS_QUEUE

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var")))
try:
    VAR_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
except OSError as error:
    raise SystemExit(f"Cannot make {VAR_DIR} ({error.strerror}): set VAR_DIR.") from None


def _generated_secret_key() -> str:
    """Make a key once and keep it, so that an embedded system needs no configuration."""
    path = VAR_DIR / "secret_key"
    try:
        with path.open("x") as file:
            path.chmod(0o600)
            file.write(get_random_secret_key())
    except FileExistsError:
        pass
    except OSError as error:
        raise SystemExit(f"Cannot write {path} ({error.strerror}): set VAR_DIR.") from None
    return path.read_text()


DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY_IS_GENERATED = not env.str("SECRET_KEY", default="")
SECRET_KEY = env.str("SECRET_KEY", default="") or _generated_secret_key()
# Probes ask this machine by its loopback names.
LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = [*env.list("ALLOWED_HOSTS", default=[]), *LOOPBACK_NAMES]
# A system that others can ask for by a name is in production: HTTPS is on, the outbox is off.
IN_PRODUCTION = not DEBUG and bool(set(ALLOWED_HOSTS) - set(LOOPBACK_NAMES))
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "config",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_celery_beat",
    "django_celery_results",
    "ninja",
    "templates_engine",
    "scheduling",
    "notifications",
]

MIDDLEWARE = [
    "notifications.api.middleware.request_id",
    "notifications.api.middleware.api",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


DATABASES = {
    "default": env.database_url("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'db.sqlite3'}")
    or UNUSABLE_DATABASE
}
# Behind PgBouncer in transaction mode a cursor on the server does not outlive its statement.
DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = env.bool("DATABASE_IS_POOLED", default=False)

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

LANGUAGE_CODE = "en"
USE_I18N = True
FORMAT_MODULE_PATH = "config.formats"
USE_TZ = True
TIME_ZONE = env.zone("TIME_ZONE", default="UTC") or "UTC"

UNFOLD = ADMIN_SITE

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True  # no collectstatic, no folder for it

LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
LOG_STYLE = env.str("LOG_STYLE", default="text")  # or json
LOGGING = logging_config(LOG_LEVEL, LOG_STYLE)

# --- Celery -------------------------------------------------------------------------------

# The embedded broker listens on a Unix socket that only its owner can reach.
EMBEDDED_BROKER_SOCKET = VAR_DIR / "broker.sock"
BROKER_IS_EMBEDDED = not env.str("BROKER_URL", default="")
BROKER_URL = env.str("BROKER_URL", default="") or f"redis+socket://{EMBEDDED_BROKER_SOCKET}"
BROKER_IS_REDIS = BROKER_URL.startswith(("redis", "valkey"))
# RabbitMQ's: quorum queues are replicated. A queue that exists keeps the type it was made with.
BROKER_QUEUE_TYPE = env.str(
    "BROKER_QUEUE_TYPE", default="classic", validate=validate.OneOf(QUEUE_TYPES)
)
REDIS_URL = env.str("REDIS_URL", default=BROKER_URL if BROKER_IS_REDIS else "")
# Seconds that whoever accepts, counts or shares waits for a broker or a Redis that hangs.
BROKER_TIMEOUT = env.float(
    "BROKER_TIMEOUT", default=0.8, validate=validate.Range(min=0, min_inclusive=False)
)

CELERY_BROKER_URL = BROKER_URL
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_TIMEZONE = TIME_ZONE
CELERY_ENABLE_UTC = True
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_TASK_QUEUES = queues(BROKER_QUEUE_TYPE)
CELERY_TASK_DEFAULT_QUEUE = JOBS_QUEUE
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TASK_ROUTES = ("notifications.routing.route_task",)
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
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_TIMEOUT = 1.0
CELERY_TASK_PUBLISH_RETRY = False
# Shares of the slots while all queues have work; off: each queue gets a message in turn.
NOTIFICATIONS_WEIGHTS = {
    "high": env.float("NOTIFICATIONS_WEIGHT_HIGH", default=16.0),
    "medium": env.float("NOTIFICATIONS_WEIGHT_MEDIUM", default=4.0),
    "low": env.float("NOTIFICATIONS_WEIGHT_LOW", default=1.0),
}
# Seconds that a queue's oldest row may wait before its weight is doubled; 0: never.
NOTIFICATIONS_RAISE_AFTER = env.float("NOTIFICATIONS_RAISE_AFTER", default=60.0)
NOTIFICATIONS_FAIR_QUEUES = env.bool("NOTIFICATIONS_FAIR_QUEUES", default=True)
QUEUE_ORDER = "notifications.fair_order:FairOrder" if NOTIFICATIONS_FAIR_QUEUES else "round_robin"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    {
        "visibility_timeout": 3600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "queue_order_strategy": QUEUE_ORDER,
        "priority_steps": [0],
        "socket_timeout": 10,
        "socket_connect_timeout": 1,
        "health_check_interval": 25,
    }
    if BROKER_IS_REDIS
    else {"confirm_publish": True}
)
# Who rings the doorbell must not wait for a broker that is away: the sweep rings later.
DOORBELL_TRANSPORT_OPTIONS: dict[str, Any] = (
    {"socket_timeout": BROKER_TIMEOUT, "socket_connect_timeout": BROKER_TIMEOUT, "max_retries": 0}
    if BROKER_IS_REDIS
    else {"max_retries": 0, "read_timeout": BROKER_TIMEOUT, "write_timeout": BROKER_TIMEOUT}
)
# Which tasks may be scheduled by name, over HTTP too; patterns.
SCHEDULING_ALLOWED_TASKS = env.list(
    "SCHEDULING_ALLOWED_TASKS", default=["notifications.send_notification"]
)
CELERY_BEAT_SCHEDULER = "scheduling.scheduler:Scheduler"
HOSTNAME = socket.gethostname()

# Seconds that a worker may go on sending after SIGTERM, before it gives the rest back.
WORKER_SHUTDOWN_GRACE = env.float("WORKER_SHUTDOWN_GRACE", default=25.0)

# --- Delivery (notifications.conf) ----------------------------------------------------------

# Messages per queue that new notifications may put on the broker, and that the sweep keeps
# there for due rows; the rest of a backlog waits in the database.
NOTIFICATIONS_WINDOW = env.int("NOTIFICATIONS_WINDOW", default=200)
NOTIFICATIONS_RELEASE = env.int("NOTIFICATIONS_RELEASE", default=8)
# Rows that one message of the sweep stands for, by priority.
NOTIFICATIONS_BATCH = {
    "high": env.int("NOTIFICATIONS_BATCH_HIGH", default=20),
    "medium": env.int("NOTIFICATIONS_BATCH_MEDIUM", default=100),
    "low": env.int("NOTIFICATIONS_BATCH_LOW", default=500),
}
# Seconds: that a message may be on its way before its row counts as due; that a claim lasts;
# that a provider has to answer; that one batch may hold a worker's slot; that a slot rests
# while the database is away. Provider's timeout plus hold must be shorter than the lease.
NOTIFICATIONS_GRACE = env.float("NOTIFICATIONS_GRACE", default=3.0)
NOTIFICATIONS_LEASE = env.float("NOTIFICATIONS_LEASE", default=60.0)
NOTIFICATIONS_PROVIDER_TIMEOUT = env.float("NOTIFICATIONS_PROVIDER_TIMEOUT", default=15.0)
NOTIFICATIONS_HOLD = env.float("NOTIFICATIONS_HOLD", default=5.0)
NOTIFICATIONS_DATABASE_REST = env.float("NOTIFICATIONS_DATABASE_REST", default=1.0)
# Celery's own limit on send_notification, per worker process.
NOTIFICATIONS_SEND_RATE_LIMIT = env.str("NOTIFICATIONS_SEND_RATE_LIMIT", default="1000/s")
# Days after which finished notifications, and dead letters, are deleted.
NOTIFICATIONS_KEEP_DAYS = env.int("NOTIFICATIONS_KEEP_DAYS", default=30)
NOTIFICATIONS_KEEP_FAILED_DAYS = env.int("NOTIFICATIONS_KEEP_FAILED_DAYS", default=180)
# Months for which what leaves is kept in the archive, beside the one it ended in; 0: no archive.
NOTIFICATIONS_ARCHIVE_MONTHS = env.int("NOTIFICATIONS_ARCHIVE_MONTHS", default=0)
# Drop recipient's data (context, subject, body) from a row as soon as it was sent.
NOTIFICATIONS_FORGET_CONTENT = env.bool("NOTIFICATIONS_FORGET_CONTENT", default=False)

# Requests per second of an API key that has no rate of its own, and how deep its JSON may nest.
NOTIFICATIONS_API_RATE = env.int("NOTIFICATIONS_API_RATE", default=1000)
NOTIFICATIONS_API_JSON_DEPTH = env.int("NOTIFICATIONS_API_JSON_DEPTH", default=32)
# How large a batch may be that comes by HTTP.
NOTIFICATIONS_API_BATCH_ROWS = env.int("NOTIFICATIONS_API_BATCH_ROWS", default=100_000)
NOTIFICATIONS_API_BATCH_BYTES = env.int("NOTIFICATIONS_API_BATCH_BYTES", default=64_000_000)

# --- Providers ----------------------------------------------------------------------------

EMAIL_URL = env.str("EMAIL_URL", default="")
# Whether the built-in outbox takes what nobody else carries, rather than that it is refused.
OUTBOX = env.bool("OUTBOX", default=not IN_PRODUCTION)
# Where the world reaches this system, for receipts and links to unsubscribe by.
PUBLIC_URL = env.str("PUBLIC_URL", default="").rstrip("/")
EMAIL_FROM = env.str("EMAIL_FROM", default="notifications@localhost")
WEBHOOK_SECRETS = env.list("WEBHOOK_SECRETS", default=[]) or [
    "whsec_" + b64encode(sha256(f"webhook {SECRET_KEY}".encode()).digest()).decode()
]
WEBHOOK_ALLOW_PRIVATE_ADDRESSES = env.bool("WEBHOOK_ALLOW_PRIVATE_ADDRESSES", default=False)
SIMULATOR = env.str("SIMULATOR", default="")  # how the simulator behaves, like latency=0.1

FLOWER_URL = env.str("FLOWER_URL", default="")  # linked from the admin

# --- Metrics ------------------------------------------------------------------------------

# Workers and schedulers answer scrapes on this port; web answers on /metrics of its own.
METRICS_PORT = env.int("METRICS_PORT", default=0)  # 0: not at all
METRICS_HOST = env.str("METRICS_HOST", default="127.0.0.1")
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")  # a bearer token; empty: no question asked

# --- Templates (templates_engine.conf) ------------------------------------------------------

TEMPLATES_BASE_URL = env.str("TEMPLATES_BASE_URL", default="")  # for {{ path|absolute }}
TEMPLATES_DEFAULT_LOCALE = env.str("TEMPLATES_DEFAULT_LOCALE", default=LANGUAGE_CODE)
TEMPLATES_MAX_SMS_SEGMENTS = env.int("TEMPLATES_MAX_SMS_SEGMENTS", default=10)

# --- Security behind HTTPS ------------------------------------------------------------------

HTTPS = env.bool("HTTPS", default=IN_PRODUCTION)
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz/", r"^metrics$"]
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=31_536_000) if HTTPS else 0
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
X_FRAME_OPTIONS = "DENY"
# Only a proxy that sets this header itself, and strips the client's, may be believed.
PROXY_SSL_HEADER = env.str("PROXY_SSL_HEADER", default="")  # e.g. X-Forwarded-Proto
SECURE_PROXY_SSL_HEADER = (
    (f"HTTP_{PROXY_SSL_HEADER.upper().replace('-', '_')}", "https") if PROXY_SSL_HEADER else None
)
# Whether all subdomains speak HTTPS, and a browser may know by heart, the operator decides.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

BAD_VALUES = bad_values()  # reported by config.checks
