"""Settings, read from the environment. Each secret may come as ``NAME_FILE``.

``docs/settings.md`` lists every name with its default.
"""

import logging
import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key
from environs import validate

from config.admin_site import ADMIN_SITE
from config.staff_login import settings as staff_login
from notifications.core import private_files, setting_values
from notifications.core.environment import (
    AT_LEAST_ONE,
    MOST_DAYS,
    NOT_NEGATIVE,
    STATEMENT_SECONDS,
    UNUSABLE_DATABASE,
    env,
)
from notifications.core.logs import LOG_STYLES, logging_config
from notifications.core.setting_values import allowed_host, each, like, origin
from scheduling import redis_address

BASE_DIR = Path(__file__).resolve().parent.parent
if not (BASE_DIR / "manage.py").exists():  # installed as a package
    BASE_DIR = Path.cwd()
elif not os.environ.get("VAR_DIR", "").strip():
    os.environ["VAR_DIR"] = str(BASE_DIR / "var")

# Its import reads VAR_DIR.
from notifications.settings import *  # noqa: E402, F403 -- a settings module takes all names
from notifications.settings import (  # noqa: E402 -- after Django's setup
    BROKER_URL,
    EMAIL_FROM_DEFAULT,
    NOTIFICATIONS_APPS,
    NOTIFICATIONS_MIDDLEWARE,
    REDIS_URL,
    VAR_DIR,
)


def _generated_secret_key() -> str:
    """Make a key once and keep it, so that an embedded system needs no configuration."""
    path = VAR_DIR / "secret_key"
    try:
        with path.open("x") as file:
            path.chmod(0o600)
            private_files.give_to_owner(path, VAR_DIR)
            file.write(get_random_secret_key())
    except FileExistsError:
        pass
    except OSError as error:
        raise SystemExit(f"Cannot write {path} ({error.strerror}): set VAR_DIR.") from None
    return path.read_text()


DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY_IS_GENERATED = not env.str("SECRET_KEY", default="")
SECRET_KEY = env.str("SECRET_KEY", default="") or _generated_secret_key()
# Keys of before, whose links and hashes hold on.
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", default=[])
# Probes ask this machine by its loopback names.
LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"]
_names: list[str] = env.list("ALLOWED_HOSTS", default=[], validate=each(allowed_host)) or []
ALLOWED_HOSTS = [*_names, *LOOPBACK_NAMES]
# A system that others can ask for by a name is in production: HTTPS is on, the outbox is off.
IN_PRODUCTION = not DEBUG and bool(set(ALLOWED_HOSTS) - set(LOOPBACK_NAMES))
CSRF_TRUSTED_ORIGINS: list[str] = (
    env.list("CSRF_TRUSTED_ORIGINS", default=[], validate=each(origin)) or []
)

INSTALLED_APPS = [
    "config",
    *NOTIFICATIONS_APPS,
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    *NOTIFICATIONS_MIDDLEWARE,
    "config.compression.compress",
    "config.content_security.policy",
    "config.refusals.while_out",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.viewer_zone.viewer_zone",
    "config.login_throttle.Throttle",
    "config.audit.requests.Audit",
]

LOGIN_REDIRECT_URL = "admin:index"
# How people log in to the admin: by a password, or by django-allauth, too.
ADMIN_SECOND_FACTOR = env.str(
    "ADMIN_SECOND_FACTOR",
    default="off",
    validate=validate.OneOf(("off", "offered", "required")),
)
ADMIN_OIDC_ISSUER = env.str("ADMIN_OIDC_ISSUER", default="")
ADMIN_OIDC_CLIENT_ID = env.str("ADMIN_OIDC_CLIENT_ID", default="")
ADMIN_OIDC_CLIENT_SECRET = env.str("ADMIN_OIDC_CLIENT_SECRET", default="")
ADMIN_OIDC_NAME = env.str("ADMIN_OIDC_NAME", default="Single sign-on")
LOGIN_BY_ALLAUTH = bool(ADMIN_OIDC_ISSUER) or ADMIN_SECOND_FACTOR != "off"
if LOGIN_BY_ALLAUTH:
    staff_login.installed()
    INSTALLED_APPS += staff_login.apps(ADMIN_OIDC_ISSUER)
    MIDDLEWARE += staff_login.MIDDLEWARE
    AUTHENTICATION_BACKENDS = staff_login.AUTHENTICATION_BACKENDS
    _client = (ADMIN_OIDC_CLIENT_ID, ADMIN_OIDC_CLIENT_SECRET)
    globals().update(staff_login.options(ADMIN_OIDC_ISSUER, _client, ADMIN_OIDC_NAME))

# Django 6's tasks, and those of its backport, are fires: kept in the caller's transaction.
TASKS = {"default": {"BACKEND": "scheduling.django_tasks.Backend", "QUEUES": []}}

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
DATABASE_IS_POOLED = env.bool("DATABASE_IS_POOLED", default=False)
DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = DATABASE_IS_POOLED
if DATABASE_IS_POOLED:  # it refuses options of a session
    DATABASES["default"].get("OPTIONS", {}).pop("options", None)

# Seconds that a statement of the web may wait for a lock, and take; 0: as long as it likes.
WEB_LOCK_TIMEOUT = env.float("WEB_LOCK_TIMEOUT", default=5, validate=STATEMENT_SECONDS)
WEB_STATEMENT_TIMEOUT = env.float("WEB_STATEMENT_TIMEOUT", default=30, validate=STATEMENT_SECONDS)

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

LOG_LEVEL = env.log_level("LOG_LEVEL", default=logging.INFO) or logging.INFO
LOG_STYLE = env.str("LOG_STYLE", default="text", validate=validate.OneOf(LOG_STYLES)) or "text"
LOGGING = logging_config(LOG_LEVEL, LOG_STYLE)

# --- What only this project has -------------------------------------------------------------

# The embedded broker listens on a Unix socket that only its owner can reach.
EMBEDDED_BROKER_SOCKET = VAR_DIR / "broker.sock"
BROKER_IS_EMBEDDED = not env.str("BROKER_URL", default="")
if BROKER_IS_EMBEDDED:
    BROKER_URL = f"redis+socket://{EMBEDDED_BROKER_SOCKET}"
    CELERY_BROKER_URL = redis_address.for_kombu(BROKER_URL)
    REDIS_URL = env.str("REDIS_URL", default=BROKER_URL)
# Whether the built-in outbox takes what nobody else carries, rather than that it is refused.
OUTBOX = env.bool("OUTBOX", default=not IN_PRODUCTION)

# Django's own mail goes the way of every notification: password resets, mails to admins.
EMAIL_BACKEND = "notifications.email_backend.EmailBackend"
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("EMAIL_FROM", default=EMAIL_FROM_DEFAULT)
# How large a request may be: one mail with its attachments in base64.
DATA_UPLOAD_MAX_MEMORY_SIZE = env.int(
    "NOTIFICATIONS_API_BODY_BYTES", default=16_000_000, validate=AT_LEAST_ONE
)

# Days for which the audit log keeps an entry; 0: for ever.
AUDIT_KEEP_DAYS = env.int("AUDIT_KEEP_DAYS", default=400, validate=validate.Range(0, MOST_DAYS))

# --- Security behind HTTPS ------------------------------------------------------------------

HTTPS = env.bool("HTTPS", default=IN_PRODUCTION)
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz/", r"^metrics$"]
SECURE_HSTS_SECONDS = (
    env.int("HSTS_SECONDS", default=31_536_000, validate=NOT_NEGATIVE) if HTTPS else 0
)
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
X_FRAME_OPTIONS = "DENY"
# Only a proxy that sets this header itself, and strips the client's, may be believed.
PROXY_SSL_HEADER = (
    env.str(
        "PROXY_SSL_HEADER",
        default="",
        validate=like(setting_values.HEADER_NAME, "Use the header's name: X-Forwarded-Proto."),
    )
    or ""
)
SECURE_PROXY_SSL_HEADER = (
    (f"HTTP_{PROXY_SSL_HEADER.upper().replace('-', '_')}", "https") if PROXY_SSL_HEADER else None
)
# HSTS includeSubDomains and preload are left to the operator.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
