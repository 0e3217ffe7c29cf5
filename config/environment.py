"""Reading the environment: a bad value is kept until the system checks report it."""

import zoneinfo
from collections.abc import Mapping
from typing import Any, cast

import dj_database_url
from environs import EnvError, EnvValidationError, FileAwareEnv

# What a bad DATABASE_URL gives: nothing may be stored where it was not meant to be.
UNUSABLE_DATABASE: dict[str, Any] = {"ENGINE": "django.db.backends.dummy"}


class Environment(FileAwareEnv):
    """``NAME`` or, for a secret, the file that ``NAME_FILE`` names; empty means not set."""

    def _get_value(self, env_key: str, default: Any) -> Any:
        try:
            value = super()._get_value(env_key, default)
        except ValueError as error:
            raise SystemExit(str(error)) from None
        return default if value == "" else value


env = Environment(eager=False, strip_whitespace=True)


def bad_values() -> dict[str, list[str]]:
    """Read no more, and give the complaints about what was read, by name."""
    try:
        env.seal()
    except EnvValidationError as error:
        return dict(cast("Mapping[str, list[str]]", error.error_messages))
    return {}


@env.parser_for("zone")
def read_zone(value: str) -> str:
    """An IANA zone, e.g. ``Europe/Rome``."""
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise EnvError("is no time zone. Use an IANA name like UTC or Europe/Rome.") from None
    return value


@env.parser_for("database_url")
def read_database_url(value: str) -> dict[str, Any]:
    """A database URL; SQLite gets the options that let several processes write."""
    try:
        # The connection is kept for the life of a thread: no reconnect per task or request.
        config: dict[str, Any] = dict(
            dj_database_url.parse(value, conn_max_age=None, conn_health_checks=True)
        )
    except ValueError:
        config = UNUSABLE_DATABASE
    engine = config["ENGINE"].rpartition(".")[2]
    if engine not in ("postgresql", "sqlite3"):
        raise EnvError(
            "is no address of a Postgres or SQLite database. Use "
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
        config.setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
    return config
