"""Pytest plugin: one real Postgres and one real Redis per run, before the settings are read.

``pyproject.toml`` loads it by ``-p``, ahead of pytest-django. A server that the environment names
(TEST_DATABASE_URL, whose role may create databases; TEST_REDIS_URL, which gets flushed) is used
instead of one of our own.
"""

import contextlib
import os
import signal

import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.reaper import temporary_folder
from tests.servers.redis import RedisServer
from tests.servers.shared import shared_folder

# What a developer has set for a running system must not reach the tests: no mail to real people.
FROM_OUTSIDE = (
    *("BROKER_URL", "REDIS_URL", "DATABASE_URL", "EMAIL_URL", "SECRET_KEY", "DEBUG"),
    *("ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "TIME_ZONE", "ADMIN_PASSWORD", "PORT"),
)


# The run's own Postgres, if none was named.
POSTGRES = pytest.StashKey[PostgresServer]()

# Where no server is: what tries to reach one fails at once.
UNREACHABLE_POSTGRES = "postgres://nobody@127.0.0.1:1/none"
UNREACHABLE_REDIS = "redis://127.0.0.1:1/0"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-servers",
        action="store_true",
        help="Start no Postgres and no Redis: for tests that need neither.",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    options = early_config.known_args_namespace
    if options.help or options.version:
        return
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # As where a shell runs this in the background: programs of tests would hear no Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if options.no_servers:
        os.environ["TEST_DATABASE_URL"] = UNREACHABLE_POSTGRES
        os.environ["TEST_REDIS_URL"] = UNREACHABLE_REDIS
    with contextlib.ExitStack() as servers:
        _point_settings_at(servers, early_config)
        early_config.add_cleanup(servers.pop_all().close)


def _point_settings_at(servers: contextlib.ExitStack, config: pytest.Config) -> None:
    shared_folder()  # before xdist starts other processes, which inherit it
    for name in FROM_OUTSIDE:
        os.environ.pop(name, None)
        os.environ.pop(f"{name}_FILE", None)
    os.environ["VAR_DIR"] = str(temporary_folder("var"))
    os.environ["HTTPS"] = "0"
    os.environ["OUTBOX"] = "1"
    os.environ["OUTGOING_PRIVATE_HOSTS"] = "localhost,127.0.0.0/8,::1"  # the tests' own servers
    # A Redis that a busy machine holds up is not away: what it was not told, only beat would find.
    os.environ["BROKER_TIMEOUT"] = "20"
    os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL") or _postgres(servers, config)
    os.environ["BROKER_URL"] = os.environ.get("TEST_REDIS_URL") or _redis(servers)


def _postgres(servers: contextlib.ExitStack, config: pytest.Config) -> str:
    server = config.stash[POSTGRES] = PostgresServer()
    servers.callback(server.stop)
    return server.start().url


def _redis(servers: contextlib.ExitStack) -> str:
    server = RedisServer()
    servers.callback(server.stop)
    return server.start().url
