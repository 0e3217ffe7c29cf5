"""What an outage is: an error that tells of a server, and nothing of the work in hand.

The database, Redis and the broker may be silent, or answer with an error: read-only, full, out of
connections, loading. Either way whoever asked waits and tries again; the row in hand is innocent.
An error of the row (a value out of range, a key that is there already) is not an outage.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from celery.exceptions import Reject
from kombu import exceptions as kombu

DATABASE = "database"
REDIS = "redis"
BROKER = "broker"


@dataclass(frozen=True, slots=True)
class Outage:
    """A server that cannot do its work now. Holds nothing of the statement that failed."""

    server: str
    """``database``, ``redis`` or ``broker``; an error of redis-py may be the broker's, too."""
    reason: str
    """What is wrong with the server, for people: "it is read-only"."""
    code: str
    """The SQLSTATE, SQLite's name of the error, Redis' error code, or the exception's name."""
    is_brief: bool = False
    """Whether it concerns one transaction, like a deadlock: try again at once."""
    makes_wait: bool = False
    """Whether whoever asks the server nevertheless waits for long, rather than is refused."""


class Requeued(Reject):  # type: ignore[misc]  # celery has no types
    """Gives a message back to the broker because of an outage, of which its watch has told."""


class PublishersBlocked(kombu.OperationalError, kombu.ConnectionError):  # type: ignore[misc]  # kombu's has no types
    """RabbitMQ blocks whoever publishes, for the reason that it gives: "low on memory".

    To kombu it is an error of the connection that no immediate retry mends.
    """

    @property
    def outage(self) -> Outage:
        """What it tells of the broker."""
        reason = _PUBLISHERS_BLOCKED.fullmatch(str(self.reply_text))
        low = reason[0] if reason else "short of something"
        return Outage(BROKER, f"it is {low} and blocks publishers", "ConnectionBlocked")


class KeyTaken(redis.ResponseError):
    """A key of ours in Redis holds what another program has written: ``kind``, not ``wanted``."""

    def __init__(self, key: str, kind: str, wanted: str) -> None:
        super().__init__(f"its key {key} is a {kind}, not a {wanted}")


_PUBLISHERS_BLOCKED = re.compile("low on [a-z &,]{1,40}")


def of(error: BaseException) -> Outage | None:
    """Return the outage that an exception tells of, or ``None`` for a fault of the work itself."""
    kinds = _kinds(error)
    if "django.db.transaction.TransactionManagementError" in kinds:
        return Outage(DATABASE, "an earlier statement failed", "25P02", is_brief=True)
    if kinds & _DATABASE_ERRORS or hasattr(error, "sqlstate"):
        return _of_database(error)
    if isinstance(error, redis.RedisError):
        return _of_redis(error)
    if is_full_queue(error):
        return Outage(BROKER, "a queue of its takes no more messages", type(error).__name__)
    if isinstance(error, _BROKER_ERRORS):
        return _of_broker(error)
    return None


def is_outage(error: BaseException) -> bool:
    """Whether an exception tells of an outage of the database, Redis or the broker."""
    return of(error) is not None


def is_of_a_statement(error: BaseException) -> bool:
    """Return whether the database answered a statement with an error that one row may cause.

    It says nothing of a row that a prepared statement is gone, or that a table or column is not
    there, unless a function of the database missed it.
    """
    if not (_kinds(error) & _DATABASE_ERRORS or hasattr(error, "sqlstate")):
        return False
    driver: Any = error if hasattr(error, "sqlstate") else error.__cause__
    state = str(getattr(driver, "sqlstate", None) or "")
    if state in NOT_MIGRATED:
        return bool(driver.diag.context)
    return bool(state) and not state.startswith(_OF_A_SESSION)


def used_its_bound(error: BaseException, seconds: float) -> bool:
    """Return whether a call of so many seconds was ended by a bound on what it may take.

    If it is repeated it takes as long again, and whoever called waits for both. A bound so short
    that it is met by chance is no reason not to repeat.
    """
    outage = of(error)
    return outage is not None and outage.code in _BOUNDS and seconds >= LONG


def _kinds(error: BaseException) -> set[str]:
    """Return the full names of an exception's classes: a process without Django imports none."""
    return {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}


# --- database -----------------------------------------------------------------------------

LOCKED = "55P03"
"""The code of a lock that was not to be had in time."""

STATEMENT_ENDED = "57014"
"""The code of a statement that took longer than it may, or that an operator ended."""

_BOUNDS = (LOCKED, STATEMENT_ENDED, "25P04")
LONG = 2.0
"""Seconds; what took so long, and was ended for it, is not repeated for who waits."""

_DATABASE_ERRORS = frozenset({"django.db.utils.Error", "django.db.utils.InterfaceError"})
_NO_ANSWER = "it does not answer"
_SILENT = "ServerSilent"

# PgBouncer ends a client's session with this code and the name of the setting that it was for.
_OF_A_POOLER = "08P01"
_POOLER_WAITED = ("query_wait_timeout", "query_timeout", "server_login_retry")

# SQLSTATEs (Postgres' manual, appendix A), and their classes of two characters.
_SQLSTATES = {
    "08": "the connection broke",
    "25": "the transaction was ended",
    "25006": "it is read-only",
    "28": "it refuses our user or password",
    "3D000": "the database named is not there",
    "42501": "it does not permit this to our user",
    "42P01": "its tables do not match this code",
    "42703": "its tables do not match this code",
    "53": "it lacks resources",
    "53100": "its disk is full",
    "53200": "it is out of memory",
    "53300": "it has no connection left",
    "55": "an object that it needs is in use",
    "57": "an operator intervened",
    "57P02": "it crashed",
    "57P03": "it is starting",
    "58": "its system reports an error",
    "F0": "its configuration is broken",
    "XX000": "it reports an internal error",
}
# Those that end one transaction, or one connection: the next may well succeed.
_BRIEF_SQLSTATES = {
    "0A000": "a prepared statement became outdated",
    "25P02": "an earlier statement failed",
    "25P03": "the transaction was idle for too long",
    "25P04": "the transaction took too long",
    "26": "a prepared statement is gone",
    "40": "another transaction won a conflict",
    "40P01": "a deadlock was resolved",
    "42P05": "a prepared statement is there already",
    LOCKED: "a lock could not be acquired",
    STATEMENT_ENDED: "a statement took too long",
    "57P01": "it ended our connection",
    "57P05": "our connection was idle for too long",
}
_OF_A_SESSION = ("0A000", "26", "42P05")
NOT_MIGRATED = ("42P01", "42703")
"""Codes: there is no such table, or no such column."""

# libpq tells of a server that refuses a connection by its text alone, without the code.
_CONNECTION_ERRORS = {
    "too many clients already": "53300",
    "too many connections for": "53300",
    "remaining connection slots are reserved": "53300",
    "no more connections allowed": "53300",  # PgBouncer
    "the database system is starting up": "57P03",
    "the database system is shutting down": "57P03",
    "the database system is in recovery mode": "57P03",
    "the database system is not yet accepting connections": "57P03",
    "authentication failed": "28P01",
    "no pg_hba.conf entry": "28000",
}
_SQLITE_ERRORS = {
    "SQLITE_CANTOPEN": "its file cannot be opened",
    "SQLITE_CORRUPT": "its file is damaged",
    "SQLITE_FULL": "its disk is full",
    "SQLITE_IOERR": "its disk reports an error",
    "SQLITE_NOMEM": "it is out of memory",
    "SQLITE_NOTADB": "its file is not a database",
    "SQLITE_PERM": "it does not permit this to our user",
    "SQLITE_READONLY": "it is read-only",
}
_BRIEF_SQLITE_ERRORS = {
    "SQLITE_BUSY": "another process writes",
    "SQLITE_INTERRUPT": "a statement was interrupted",
    "SQLITE_LOCKED": "another connection holds its lock",
    "SQLITE_PROTOCOL": "another process writes",
    "SQLITE_SCHEMA": "its tables were changed",
}


def _of_database(error: BaseException) -> Outage | None:
    driver: Any = error if hasattr(error, "sqlstate") else error.__cause__
    if state := getattr(driver, "sqlstate", None):
        if str(state) == _OF_A_POOLER and any(words in str(driver) for words in _POOLER_WAITED):
            return Outage(DATABASE, _NO_ANSWER, _OF_A_POOLER, makes_wait=True)
        return _of_code(str(state), error, _SQLSTATES, _BRIEF_SQLSTATES)
    if name := getattr(driver, "sqlite_errorname", None):
        return _of_code(str(name), error, _SQLITE_ERRORS, _BRIEF_SQLITE_ERRORS)
    if type(driver).__name__ == _SILENT:
        return Outage(DATABASE, _NO_ANSWER, _SILENT, makes_wait=True)
    # By name: Django's or the driver's own.
    if {kind.__name__ for kind in type(error).__mro__} & {"OperationalError", "InterfaceError"}:
        if code := _code_in(str(error)):
            return _of_code(code, error, _SQLSTATES, _BRIEF_SQLSTATES)
        return Outage(DATABASE, _NO_ANSWER, type(error).__name__)
    return None  # one of Django's own, about the model, or a value that Python cannot read or write


def _of_code(
    code: str, error: BaseException, lasting: Mapping[str, str], brief: Mapping[str, str]
) -> Outage | None:
    if code == "0A000" and "cached plan" not in str(error):
        return None  # what Postgres does not support, it never will
    for known in (code, _family(code)):
        if known in brief:
            return Outage(DATABASE, brief[known], code, is_brief=True)
        if known in lasting:
            return Outage(DATABASE, lasting[known], code)
    return None


def _code_in(text: str) -> str:
    """Return the SQLSTATE of a refused connection, by the server's words; "" for other words."""
    if "FATAL" not in text:
        return ""
    return next((code for words, code in _CONNECTION_ERRORS.items() if words in text), "")


def _family(code: str) -> str:
    """Return the class of a SQLSTATE, or the primary name of SQLite's extended one."""
    return "_".join(code.split("_")[:2]) if code.startswith("SQLITE_") else code[:2]


# --- Redis and the broker -----------------------------------------------------------------

_REDIS_CODES = {
    "BUSY": "it runs a script that does not end",
    "CLUSTERDOWN": "its cluster is down",
    "EXECABORT": "it refuses writes",
    "LOADING": "it loads its data",
    "MASTERDOWN": "its primary is down",
    "MISCONF": "it cannot save its data to disk",
    "NOAUTH": "it asks for a password",
    "NOPERM": "it does not permit this to our user",
    "NOREPLICAS": "it has too few replicas",
    "OOM": "it is out of memory",
    "READONLY": "it is read-only",
    "WRONGPASS": "it refuses our user or password",
    "WRONGTYPE": "a key of ours holds a value of another type",
}
# AMQP 0-9-1, "Reply codes".
_AMQP_CODES = {
    403: "it refuses our user, its password or its permissions",
    530: "it does not give our user that virtual host",
}
_OF_A_PIPELINE = " of pipeline caused error: "
_BROKER_ERRORS = (
    kombu.OperationalError,
    kombu.BatchPublishError,
    kombu.LimitExceeded,
    kombu.ConnectionError,
    kombu.ChannelError,
)


def is_full_queue(error: BaseException) -> bool:
    """Return whether RabbitMQ refused one message, which its other queues may well take.

    So it does where a policy bounds a queue (``overflow: reject-publish``): "Queue Length Limit" in
    its documentation.
    """
    return "amqp.exceptions.MessageNacked" in _kinds(error)


def _of_redis(error: redis.RedisError) -> Outage | None:
    if isinstance(error, (redis.DataError, redis.exceptions.LockError)):
        return None  # redis-py itself refused an argument, or a lock of ours is over
    if isinstance(error, KeyTaken):
        return Outage(REDIS, str(error), "WRONGTYPE")
    code = redis_code(error)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return Outage(REDIS, "its certificate is not trusted", code)
    brief = isinstance(error, redis.WatchError)
    unnamed = "it answers with an error" if isinstance(error, redis.ResponseError) else _NO_ANSWER
    return Outage(REDIS, _REDIS_CODES.get(code, unnamed), code, is_brief=brief)


def redis_code(error: BaseException) -> str:
    """Return the word that a Redis error begins with ("OOM"), else the exception's name."""
    if code := getattr(error, "status_code", None):
        return str(code)
    words = str(error).rpartition(_OF_A_PIPELINE)[2]
    first = words.partition(" ")[0]
    return first if first.isupper() and first in _REDIS_CODES else type(error).__name__


def _of_broker(error: BaseException) -> Outage:
    if isinstance(error, PublishersBlocked):
        return error.outage
    cause = error.__cause__
    if isinstance(cause, redis.RedisError) and (known := _of_redis(cause)):
        return Outage(BROKER, known.reason, known.code)
    code = getattr(cause, "reply_code", None) or getattr(error, "reply_code", None)
    reason = _AMQP_CODES.get(code, "it answers with an error") if code else _NO_ANSWER
    return Outage(BROKER, reason, type(error).__name__)
