"""Which errors tell of a server, and which of the work in hand."""

import sqlite3

import amqp.exceptions as amqp  # type: ignore[import-untyped]
import django.db
import psycopg
import pytest
import redis
from django.db.transaction import TransactionManagementError
from kombu import exceptions as kombu
from redis._parsers.base import BaseParser

from scheduling import outages


def _django(sqlstate: str) -> Exception:
    """An error as Django raises it, with psycopg's own as its cause."""
    cause = psycopg.errors.lookup(sqlstate)("it said this")
    for name in ("OperationalError", "InternalError", "ProgrammingError", "DataError"):
        if isinstance(cause, getattr(psycopg, name)):
            error: Exception = getattr(django.db, name)("it said this")
            break
    else:
        error = django.db.DatabaseError("it said this")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("sqlstate", "reason"),
    [
        ("25006", "it is read-only"),
        ("53100", "its disk is full"),
        ("53300", "it has no connection left"),
        ("57P03", "it is starting"),
        ("42501", "it does not permit this to our user"),
        ("58030", "its system reports an error"),
        ("08006", "the connection broke"),
    ],
)
def test_a_database_that_refuses_all_work_is_out(sqlstate: str, reason: str) -> None:
    outage = outages.of(_django(sqlstate))
    assert outage == outages.Outage("database", reason, sqlstate)


def test_a_pooler_that_has_waited_for_its_server_tells_that_it_does_not_answer() -> None:
    error = django.db.OperationalError()
    error.__cause__ = psycopg.errors.ProtocolViolation("FATAL:  query_wait_timeout")
    outage = outages.of(error)
    assert outage == outages.Outage("database", "it does not answer", "08P01", makes_wait=True)


@pytest.mark.parametrize(
    "sqlstate", ["40P01", "40001", "57014", "55P03", "57P01", "25P02", "26000"]
)
def test_what_ends_one_transaction_is_brief(sqlstate: str) -> None:
    outage = outages.of(_django(sqlstate))
    assert outage is not None
    assert outage.is_brief


@pytest.mark.parametrize("sqlstate", ["22001", "22P05", "23505", "54000", "42601", "0A000"])
def test_a_fault_of_the_row_or_the_statement_is_none(sqlstate: str) -> None:
    assert outages.of(_django(sqlstate)) is None


def test_a_plan_that_a_migration_outdated_is_brief() -> None:
    error = _django("0A000")
    error.args = ("cached plan must not change result type",)
    outage = outages.of(error)
    assert outage is not None
    assert outage.is_brief


def test_a_driver_that_says_no_more_has_no_answer() -> None:
    for error in (
        django.db.OperationalError("connection refused"),
        django.db.InterfaceError("the connection is closed"),
        psycopg.OperationalError("connection refused"),
    ):
        outage = outages.of(error)
        assert outage is not None
        assert outage.reason == "it does not answer"


@pytest.mark.parametrize(
    ("words", "reason", "code"),
    [
        ("sorry, too many clients already", "it has no connection left", "53300"),
        ('too many connections for role "app"', "it has no connection left", "53300"),
        ("the database system is starting up", "it is starting", "57P03"),
        (
            'password authentication failed for user "app"',
            "it refuses our user or password",
            "28P01",
        ),
    ],
)
def test_a_refused_connection_is_told_by_the_servers_words(
    words: str, reason: str, code: str
) -> None:
    text = f'connection to server at "127.0.0.1", port 5432 failed: FATAL:  {words}'
    for error in (django.db.OperationalError(text), psycopg.OperationalError(text)):
        outage = outages.of(error)
        assert outage is not None
        assert (outage.reason, outage.code) == (reason, code)


def test_a_value_that_the_driver_cannot_read_is_the_rows_own() -> None:
    assert outages.of(psycopg.DataError("timestamp too large (after year 10K)")) is None


def test_a_transaction_that_failed_before_is_no_fault_of_the_next_row() -> None:
    assert outages.is_outage(TransactionManagementError("broken"))


@pytest.mark.parametrize(
    ("name", "brief"),
    [("SQLITE_READONLY_DIRECTORY", False), ("SQLITE_FULL", False), ("SQLITE_BUSY_SNAPSHOT", True)],
)
def test_sqlite_has_outages_too(name: str, brief: bool) -> None:
    cause = sqlite3.OperationalError("it said this")
    cause.sqlite_errorname = name
    error = django.db.OperationalError("it said this")
    error.__cause__ = cause
    outage = outages.of(error)
    assert outage is not None
    assert outage.is_brief is brief


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            "OOM command not allowed when used memory > 'maxmemory'.",
            "it is out of memory",
        ),
        ("READONLY You can't write against a read only replica.", "it is read-only"),
        ("LOADING Redis is loading the dataset in memory", "it loads its data"),
        ("MISCONF Redis is configured to save RDB", "it cannot save its data to disk"),
        ("NOAUTH Authentication required.", "it asks for a password"),
        ("NOPERM this user has no permissions", "it does not permit this to our user"),
        ("BUSY Redis is busy running a script.", "it runs a script that does not end"),
        ("ERR something new", "it answers with an error"),
    ],
)
def test_every_error_that_redis_answers_is_an_outage(answer: str, reason: str) -> None:
    outage = outages.of(BaseParser.parse_error(answer))
    assert outage is not None
    assert (outage.server, outage.reason) == ("redis", reason)


def test_a_redis_that_is_silent_is_out_but_a_bad_argument_is_not() -> None:
    assert outages.is_outage(redis.ConnectionError())
    assert outages.is_outage(redis.TimeoutError())
    assert not outages.is_outage(redis.DataError("Invalid input of type: 'NoneType'"))


def test_the_broker_tells_the_reason_of_the_redis_behind_it() -> None:
    error = kombu.OperationalError("out of memory")
    error.__cause__ = BaseParser.parse_error("OOM command not allowed")
    assert outages.of(error) == outages.Outage("broker", "it is out of memory", "OOM")


@pytest.mark.parametrize(
    "error", [ValueError(), ConnectionRefusedError(), django.db.IntegrityError(), KeyError()]
)
def test_anything_else_is_a_fault_of_the_work(error: Exception) -> None:
    assert not outages.is_outage(error)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("low on memory", "it is low on memory and blocks publishers"),
        ("low on disk", "it is low on disk and blocks publishers"),
        ("low on memory & disk", "it is low on memory & disk and blocks publishers"),
        ("\x1b[31mof another version", "it is short of something and blocks publishers"),
        ("", "it is short of something and blocks publishers"),
    ],
)
def test_a_broker_that_blocks_publishers_is_out_for_the_reason_that_it_gives(
    said: str, reason: str
) -> None:
    error = outages.PublishersBlocked(said)
    assert outages.of(error) == outages.Outage("broker", reason, "ConnectionBlocked")
    assert isinstance(error, kombu.OperationalError)  # what callers of Celery wait out


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        (amqp.AccessRefused("no", reply_code=403), "refuses our user", "AccessRefused"),
        (amqp.NotAllowed("no", reply_code=530), "that virtual host", "NotAllowed"),
        (amqp.PreconditionFailed("no", reply_code=406), "answers with an error", "Precondition"),
        (amqp.RecoverableConnectionError("closed"), "does not answer", "Recoverable"),
    ],
)
def test_what_rabbitmq_answers_is_no_silence(error: Exception, reason: str, code: str) -> None:
    outage = outages.of(error)
    assert outage is not None
    assert reason in outage.reason
    assert outage.code.startswith(code)


def test_the_code_of_an_error_is_known_though_a_pipeline_met_it() -> None:
    said = "Command # 1 (HGETALL key) of pipeline caused error: WRONGTYPE Operation against a key"
    outage = outages.of(redis.ResponseError(said))
    assert outage == outages.Outage(
        "redis", "a key of ours holds a value of another type", "WRONGTYPE"
    )
