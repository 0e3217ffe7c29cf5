"""Fixtures over real parts.

The run's own Postgres and Redis are started by ``tests.servers.plugin`` before the settings are
read, so ``db`` and ``transactional_db`` are Postgres, and Celery's broker is Redis, without a
fixture. Beside them:

``child_env``
    The environment of a subprocess that shall see this test's database (by way of
    ``transactional_db``) and an empty broker. EMAIL_URL is not set in it.
``processes``
    Starts real processes in ``child_env``: ``worker()``, ``beat()``, ``web()`` and ``flower()``
    (these two return process and address), ``run(name, *command)``, ``start(name, *command)``.
    Each has ``kill()``, ``interrupt()``, ``terminate()``, ``wait()``, ``output()`` and
    ``wait_for_output(text)``. Extra environment goes by keyword:
    ``processes.worker("-c", "1", EMAIL_URL=smtp_server.url)``. All are ended with the test, and a
    failed test shows the ends of their logs. Python programs are forked from a process that has
    the libraries imported, which saves a second of CPU each (``tests.servers.forkserver``).
``wait_until``
    ``wait_until(predicate)`` polls, and returns the first true answer.
``smtp_server``, ``make_smtp_server``
    A real SMTP server: ``url``, ``messages`` (``sender``, ``recipients``, parsed ``message``),
    ``answer(recipient, ["451 4.7.1 Try later"], at="RCPT" | "DATA")``, where HANG
    (``tests.servers.smtp``) never answers. ``make_smtp_server(tls="starttls" | "implicit",
    login=("user", "password"))`` has ``authority_pem`` to trust.
``redis_server``, ``postgres_server``
    A durable server of the test's own, for chaos: ``url``, ``start()``, ``stop()``, ``kill()``,
    ``restart()``, and Redis' ``flush()``. The Postgres has an empty database.
``migrated_postgres_server``
    The same, with the tables of this project.
"""

import gc
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection
from whitenoise.middleware import WhiteNoiseMiddleware

from tests import emptying, leftovers, registries
from tests.servers import process
from tests.servers.plugin import POSTGRES
from tests.servers.postgres import PostgresServer, migrated_data, migrated_server
from tests.servers.processes import TAIL_CHARACTERS, Processes
from tests.servers.reaper import temporary_folder
from tests.servers.redis import RedisServer
from tests.servers.smtp import SmtpServer

# They need no database of the run, so they may come before the tests that find it untouched.
LONGEST = ("tests/chaos/", "tests/acceptance/test_make_up.py", "tests/acceptance/test_package.py")
# More than ten seconds of processor time each; they come next, after the tests that find it so.
LONG = (
    *("tests/browser/", "tests/acceptance/", "tests/integration/docs/test_commands.py"),
    *("tests/integration/docs/test_pages.py", "tests/integration/docs/test_production.py"),
    "tests/integration/notifications/api/test_contract.py",
    "tests/integration/notifications/api/test_live.py",
    "tests/integration/notifications/db/test_database_errors.py",
    "tests/integration/notifications/db/test_redis_errors.py",
    "tests/integration/notifications/db/test_sending_in_an_outage.py",
    "tests/integration/notifications/gateways/test_djangos_own.py",
    "tests/integration/notifications/submission/test_a_new_field.py",
    *("tests/integration/test_on_sqlite.py", "tests/integration/config/test_tls.py"),
    "tests/integration/deploy/test_prometheus",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each process of a run begin with some of the long tests: the run ends with none.

    Each is first given an equal part of all tests, in their order (pytest-xdist's worksteal).
    """
    longest = [item for item in items if item.nodeid.startswith(LONGEST)]
    long = [item for item in items if item.nodeid.startswith(LONG) and item not in longest]
    for item in (*longest, *long):
        item.add_marker(pytest.mark.timeout(900))  # they run beside one another, when all is busy
    files = list(dict.fromkeys(item.path for item in long))  # whole, for a server that it starts
    chosen = {*longest, *long}
    others = iter([item for item in items if item not in chosen])
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    part = len(items) // count
    items.clear()
    for number in range(count):
        begin = longest[number::count]
        then = [item for item in long if item.path in files[number::count]]
        rest = [*islice(others, max(0, part - len(begin) - len(then)))]
        untouched = [item for item in rest if _rolls_back(item)]
        items += [*begin, *untouched, *then, *(item for item in rest if not _rolls_back(item))]
    items += others


def _rolls_back(item: pytest.Item) -> bool:
    """Return whether it uses the database of the run, and commits nothing to it."""
    marker = item.get_closest_marker("django_db")
    fixtures = getattr(item, "fixturenames", ())
    commits = "transactional_db" in fixtures or (marker and marker.kwargs.get("transaction"))
    return not commits and (marker is not None or "db" in fixtures)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, pytestconfig: pytest.Config
) -> None:
    """Have the test database copied from one that is migrated once in the whole run."""
    server = pytestconfig.stash.get(POSTGRES, None)
    if server is not None:
        server.start_anew(migrated_data())
        connection.settings_dict["TEST"]["TEMPLATE"] = connection.settings_dict["NAME"]


def pytest_configure() -> None:
    """Collect no garbage while the tests are found: hardly any of it is."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Have the garbage collector leave out the tests and modules: they stay until the end."""
    gc.enable()
    gc.collect()
    gc.freeze()


# Of this scope, so that it begins before and ends after every fixture of a test's own.
@pytest.fixture(scope="class", autouse=True)
def _leaves_nothing_behind() -> Iterator[None]:
    leftovers.forget()
    before = leftovers.state()
    yield
    left = leftovers.between(before, leftovers.state())
    if left:
        pytest.fail(f"This test leaves to the tests after it:\n{left}")


@pytest.fixture(scope="session", autouse=True)
def _only_what_has_rows_is_emptied() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        emptying.install(patch)
        yield


@pytest.fixture(scope="session", autouse=True)
def _passwords_are_hashed_in_no_time() -> Iterator[None]:
    # Each test with a user would spend half a second on it. A real web process reads such a
    # password, too: how often it was hashed is a part of the hash.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "iterations", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _static_files_are_looked_up_once() -> Iterator[None]:
    # Each test client makes the middlewares anew, and WhiteNoise would read all files' dates.
    look, found = WhiteNoiseMiddleware.add_files_from_finders, dict[str, Any]()

    def once(self: WhiteNoiseMiddleware) -> None:
        if not found:
            look(self)
            found.update(self.files)
        self.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", once)
        yield


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    return process.wait_until


@pytest.fixture
def child_env(transactional_db: None) -> dict[str, str]:
    with redis.Redis.from_url(settings.BROKER_URL) as broker:
        broker.flushdb()
    return os.environ | {
        "DATABASE_URL": _url_of_the_test_database(),
        "BROKER_URL": settings.BROKER_URL,
        "VAR_DIR": str(_empty_var()),
        "SECRET_KEY": settings.SECRET_KEY,
        "GRANIAN_BLOCKING_THREADS": "4",
        "PYTHONUNBUFFERED": "1",
    }


@cache
def _var() -> Path:
    return temporary_folder("var")


def _empty_var() -> Path:
    """Return a folder that is the same for all tests: their processes differ in nothing then."""
    shutil.rmtree(_var())
    _var().mkdir(mode=0o700)
    return _var()


def _url_of_the_test_database() -> str:
    database = connection.settings_dict
    user, password, host, name = (
        quote(str(database[key]), safe="") for key in ("USER", "PASSWORD", "HOST", "NAME")
    )
    return f"postgres://{user}:{password}@{host}:{database['PORT']}/{name}"


@pytest.fixture
def processes(
    child_env: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Processes]:
    group = Processes(child_env, tmp_path)
    yield group
    group.end_all()
    emptying.end_all_sessions()
    for ended in group.started:
        # pytest shows the sections of a teardown only for a test that failed
        request.node.add_report_section(
            "teardown", f"log of {ended.name}", ended.output()[-TAIL_CHARACTERS:]
        )


@pytest.fixture
def make_smtp_server() -> Iterator[Callable[..., SmtpServer]]:
    started: list[SmtpServer] = []

    def make(**options: Any) -> SmtpServer:
        started.append(SmtpServer(**options).start())
        return started[-1]

    yield make
    for server in started:
        server.stop()


@pytest.fixture
def smtp_server(make_smtp_server: Callable[..., SmtpServer]) -> SmtpServer:
    return make_smtp_server()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer(durable=True).start()
    yield server
    server.stop()


@pytest.fixture
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.stop()


@pytest.fixture
def migrated_postgres_server() -> Iterator[PostgresServer]:
    server = migrated_server().start()
    yield server
    server.stop()


@pytest.fixture
def npm_install(tmp_path: Path) -> Callable[..., Path]:
    """Return what copies packages of npm's registry into a folder, and returns the folder."""

    def npm_install(*packages: str) -> Path:
        subprocess.run(["cp", "-a", f"{registries.npm(*packages)}/.", tmp_path], check=True)
        return tmp_path

    return npm_install
