"""Reading the environment: a bad value is kept until the system checks report it."""

import os
import warnings
import zoneinfo
from collections.abc import Mapping, MutableMapping
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit

import dj_database_url
from environs import EnvError, EnvValidationError, FileAwareEnv, validate

# Every statement here is short; a plan that looks dear (many index probes of one large table) would
# be compiled for longer than it runs: 300 ms in place of 14.
# A client that vanished, with its machine or its network, is given up by the server as early as
# the other way round (below): its open transaction would lock rows for hours.
POSTGRES_SESSION = {
    "options": "-c jit=off -c tcp_keepalives_idle=3 -c tcp_keepalives_interval=2"
    " -c tcp_keepalives_count=3 -c tcp_user_timeout=9000"
}
# Seconds and milliseconds after which a server that vanished is given up, rather than minutes.
POSTGRES_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 3,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 9000,
}
# What a number may be.
MOST = 2_000_000_000
"""The largest number or time: 63 years of seconds, and an integer of the database."""
AT_LEAST_ONE = validate.Range(min=1, max=MOST)
NOT_NEGATIVE = validate.Range(min=0, max=MOST)
POSITIVE = validate.Range(min=0, max=MOST, min_inclusive=False)
STATEMENT_SECONDS = validate.Range(min=0, max=2_000_000)  # Postgres counts milliseconds, in an int
PORT = validate.Range(min=0, max=65_535)
MOST_DAYS = 36_500  # a hundred years: more cannot be subtracted from every date
# What a bad DATABASE_URL gives: nothing may be stored where it was not meant to be.
UNUSABLE_DATABASE: dict[str, Any] = {"ENGINE": "django.db.backends.dummy"}


class Environment(FileAwareEnv):
    """``NAME`` or, for a secret, the file that ``NAME_FILE`` names; empty means not set.

    White space around a value is no part of it.
    """

    def _get_value(self, env_key: str, default: Any) -> Any:
        if os.environ.get(env_key) and os.environ.get(f"{env_key}_FILE"):
            raise SystemExit(f"{env_key} and {env_key}_FILE are both set: leave one out.")
        try:
            value = super()._get_value(env_key, default)
        except UnicodeDecodeError:
            raise SystemExit(
                f"{env_key}_FILE names a file that is not text in UTF-8. Correct the file."
            ) from None
        except (ValueError, OSError) as error:
            # environs wraps some errors of the system. The value is not told: some set the secret.
            cause = error if isinstance(error, OSError) else error.__cause__
            why = f" ({cause.strerror})" if isinstance(cause, OSError) else ""
            raise SystemExit(
                f"{env_key}_FILE names a file that cannot be read{why}. Correct the path, or let "
                "this user read the file."
            ) from None
        value = value.strip() if isinstance(value, str) else value
        return default if value == "" else value


# What settings were called in older versions; the old names are read until 0.3.
RENAMED = {
    "NOTIFICATIONS_WINDOW": "NOTIFICATIONS_QUEUE_WINDOW",
    "NOTIFICATIONS_RELEASE": "NOTIFICATIONS_RELEASED_MESSAGES",
    "NOTIFICATIONS_GRACE": "NOTIFICATIONS_PICKUP_GRACE",
    "NOTIFICATIONS_HOLD": "NOTIFICATIONS_BATCH_TIME_LIMIT",
    "NOTIFICATIONS_DATABASE_REST": "NOTIFICATIONS_DATABASE_BACKOFF",
}


def take_old_names(environ: MutableMapping[str, str]) -> None:
    """Let the variables of ``RENAMED`` set what they are called now, with a warning for each."""
    for old, new in RENAMED.items():
        for name, value in ((old, environ.get(old)), (f"{old}_FILE", environ.get(f"{old}_FILE"))):
            if value:
                environ.setdefault(name.replace(old, new), value)
                warnings.warn(f"{old} is called {new} now.", FutureWarning, stacklevel=2)


env = Environment(eager=False, strip_whitespace=True)


# What would be right, where environs says only that a value is not.
_RIGHT = {
    "Not a valid integer.": "Use a whole number like 30.",
    "Not a valid number.": "Use a number like 30 or 0.5.",
    "Not a valid boolean.": "Use 1 or 0.",
    "Not a valid log level.": "Use DEBUG, INFO, WARNING, ERROR or CRITICAL.",
}


@cache
def bad_values() -> dict[str, list[str]]:
    """Read no more, and return the complaints about what was read, by name."""
    try:
        env.seal()
    except EnvValidationError as error:
        found = cast("Mapping[str, list[str]]", error.error_messages)
        return {name: [_with_what_is_right(said) for said in all_] for name, all_ in found.items()}
    return {}


def _with_what_is_right(complaint: str) -> str:
    return f"{complaint} {_RIGHT[complaint]}" if complaint in _RIGHT else complaint


@env.parser_for("zone")
def read_zone(value: str) -> str:
    """Read an IANA zone, e.g. ``Europe/Rome``."""
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise EnvError("is not a time zone. Use an IANA name like UTC or Europe/Rome.") from None
    return value


@env.parser_for("database_url")
def read_database_url(value: str) -> dict[str, Any]:
    """Read a database URL; SQLite gets the options that let several processes write.

    Of several Postgres hosts (``h1:5432,h2:5433``) the one that takes writes is used.
    """
    several: dict[str, str] = {}
    try:
        url, several = _apart(value)
        # The connection is kept for the life of a thread: no reconnect per task or request.
        config: dict[str, Any] = dict(
            dj_database_url.parse(url, conn_max_age=None, conn_health_checks=True)
        )
    except EnvError:  # which is a ValueError, and says what is wrong
        raise
    except ValueError:
        config = UNUSABLE_DATABASE
    engine = config["ENGINE"].rpartition(".")[2]
    if engine not in ("postgresql", "sqlite3"):
        raise EnvError(
            "is not an address of a Postgres or SQLite database. Use "
            "postgres://user:password@host:5432/name, with %40 for an @ in the password."
        )
    if engine == "sqlite3":
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            **config.get("OPTIONS", {}),
        }
    else:
        config |= {"ENGINE": "scheduling.postgresql", **several}
        config["OPTIONS"] = {
            **POSTGRES_PATIENCE,
            **POSTGRES_SESSION,
            **({"target_session_attrs": "read-write"} if several else {}),
            **config.get("OPTIONS", {}),
        }
    return config


def _apart(url: str) -> tuple[str, dict[str, str]]:
    """Take several hosts out of a URL; return it with the first, and HOST and PORT for libpq."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return url, {}
    names, ports = zip(*(_host_and_port(host) for host in hosts.split(",")), strict=True)
    first = parts._replace(netloc=f"{login}{at}{hosts.split(',')[0]}")
    return first.geturl(), {"HOST": ",".join(names), "PORT": ",".join(ports)}


def _host_and_port(text: str) -> tuple[str, str]:
    try:
        parts = urlsplit(f"//{text}")
        return parts.hostname or "", str(parts.port or 5432)
    except ValueError:
        raise EnvError(
            "has a host whose port is not a number. Use postgres://user:password@h1:5432,h2:5432/name."
        ) from None
