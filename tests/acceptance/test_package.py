"""The wheel, in projects that have no checkout: one of ours, ready-made, and one of a shop."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.test_make_up import OUTSIDE
from tests.pages import files
from tests.servers.plugin import UNREACHABLE_POSTGRES, UNREACHABLE_REDIS
from tests.servers.postgres import PostgresServer
from tests.servers.process import free_port, wait_until
from tests.servers.processes import ROOT, Processes, RunningProcess, wait_for_http
from tests.servers.reaper import temporary_folder
from tests.servers.redis import RedisServer
from tests.servers.shared import once
from tests.servers.shims import python_shim

BIN = Path(sys.executable).parent
STATUS = "SELECT status FROM notifications_notification"


@pytest.fixture(scope="module")
def installed() -> Path:
    """A folder into which the wheel was installed, without what it depends on."""
    return once("wheel", _install)


def _install() -> Path:
    folder = temporary_folder("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = (*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder))
    subprocess.run([*built, str(ROOT)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    into = (*pip, "install", "--quiet", "--no-deps", "--target", str(target), str(wheel))
    subprocess.run(into, check=True, capture_output=True)
    return target


class Project:
    """A folder with a project; its processes know the wheel, and not the checkout.

    With ``forks`` they are forked from one that has the libraries imported, and nothing of ours.
    """

    def __init__(
        self, folder: Path, processes: Processes, env: dict[str, str], *, forks: bool = False
    ) -> None:
        self.folder = folder
        self._processes = processes
        self.env = env
        self._forks = forks

    def start(self, name: str, *command: str, **env: str) -> RunningProcess:
        program = [str(BIN / command[0]) if (BIN / command[0]).exists() else command[0]]
        if self._forks:
            program = [str(python_shim()), *(program if command[0] != "python" else ())]
        given = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(self.folder), *program, *command[1:]]
        return self._processes.start(name, *given, **self.env | env)

    def run(self, name: str, *command: str) -> str:
        process = self.start(name, *command)
        assert process.wait() == 0, process.output()
        return process.output()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    kept = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
    kept.pop("DJANGO_SETTINGS_MODULE", None)
    kept.pop("VAR_DIR", None)
    processes = Processes(kept, tmp_path, forks=False)
    yield processes
    processes.end_all()


@pytest.fixture
def project(installed: Path, processes: Processes, tmp_path: Path) -> Project:
    """A shop whose servers do not run."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "examples" / "shop", folder)
    env = {
        "PYTHONPATH": str(installed),
        "DATABASE_URL": UNREACHABLE_POSTGRES,
        "BROKER_URL": UNREACHABLE_REDIS,
        "OUTBOX": "1",
    }
    return Project(folder, processes, env, forks=True)


@pytest.fixture
def shop(
    project: Project, processes: Processes, postgres_server: PostgresServer
) -> Iterator[Project]:
    project.env["DATABASE_URL"] = postgres_server.url
    yield project
    processes.end_all()


def test_a_project_that_adds_a_few_lines_delivers(shop: Project, redis_server: RedisServer) -> None:
    shop.env["BROKER_URL"] = redis_server.url
    where = shop.run("where", "python", "-c", "import notifications; print(notifications.__file__)")
    assert where.startswith(shop.env["PYTHONPATH"])
    assert "no issues" in shop.run("check", "python", "manage.py", "check")
    assert "No changes" in shop.run("new", "python", "manage.py", "makemigrations", "--check")
    shop.run("migrate", "python", "manage.py", "migrate", "-v0")
    worker = shop.start("worker", "celery", "-A", "shop", "worker", "-c", "1")
    beat = shop.start("beat", "celery", "-A", "shop", "beat")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    web = shop.start("web", "python", "manage.py", "runserver", "--noreload", str(port))
    wait_for_http(f"{address}/healthz/live", web)
    request = urllib.request.Request(f"{address}/orders/", method="POST")
    with urllib.request.urlopen(request) as answer:
        made = json.load(answer)
    with psycopg.connect(shop.env["DATABASE_URL"], autocommit=True) as database:
        wait_until(lambda: database.execute(STATUS).fetchall() == [("sent",)])
    with urllib.request.urlopen(f"{address}/api/v1/openapi.json") as answer:
        assert "/api/v1/notifications" in json.load(answer)["paths"]
    # Django would break off by a bare 500 before any middleware of ours.
    csv = {"Content-Type": "text/csv; charset=rot13"}
    batch = urllib.request.Request(f"{address}/api/v1/notifications/batch", b"x", csv)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(batch)
    assert refused.value.code == 401
    assert refused.value.headers["Content-Type"] == "application/problem+json"
    assert made["order"] == 1
    assert beat.returncode is None
    assert worker.first_traceback() == beat.first_traceback() == ""


def test_the_scheduler_alone_runs_in_a_celery_app_without_django(
    installed: Path, processes: Processes, tmp_path: Path, redis_server: RedisServer
) -> None:
    folder = tmp_path / "reports"
    shutil.copytree(ROOT / "examples" / "reports", folder)
    env = {"PYTHONPATH": str(installed), "REDIS_URL": redis_server.url}
    reports = Project(folder, processes, env)
    worker = reports.start("worker", "celery", "-A", "reports", "worker", "-c", "1")
    scheduler = ("-S", "scheduling.backends.redis:Scheduler")
    beat = reports.start("beat", "celery", "-A", "reports", "beat", *scheduler)
    report = folder / "report.txt"
    wait_until(report.exists, hint=worker.output() + beat.output())
    now = "import reports; from scheduling import jobs; jobs.run_now('reports.nightly')"
    reports.run("now", "python", "-c", now)
    wait_until(lambda: "closed" in report.read_text(), hint=worker.output())
    assert worker.first_traceback() == beat.first_traceback() == ""


def test_its_own_tests_send_by_the_kit_as_the_page_says(shop: Project) -> None:
    for name, code in files("testing.md").items():
        (shop.folder / name).parent.mkdir(exist_ok=True)
        (shop.folder / name).write_text(code)
    (shop.folder / "conftest.py").write_text('pytest_plugins = ["notifications.testing.plugin"]')
    (shop.folder / "tests" / "__init__.py").touch()
    shop.env["EMAIL_URL"] = "smtp://127.0.0.1:1"
    # Both on one database: making its tables takes longest.
    assert "OK" in shop.run("test", "python", "manage.py", "test", "--keepdb", "tests")
    database = ("--reuse-db", "--ds=shop.settings")
    options = ("-q", "-p", "no:cacheprovider", *database, "--rootdir=.", "tests")
    assert "5 passed" in shop.run("pytest", "python", "-m", "pytest", *options)


@pytest.mark.parametrize(
    ("without", "problem"),
    [
        ("*NOTIFICATIONS_APPS, ", "scheduling"),
        ("*NOTIFICATIONS_MIDDLEWARE, ", "notifications.E004"),
    ],
)
def test_a_check_says_what_a_project_lacks(project: Project, without: str, problem: str) -> None:
    settings = project.folder / "shop" / "settings.py"
    apps = '"notifications", "notifications.apps.AdminConfig", "unfold.apps.BasicAppConfig", '
    instead = apps if "APPS" in without else ""
    settings.write_text(settings.read_text().replace(without, instead))
    process = project.start("check", "python", "manage.py", "check")
    assert process.wait() == 1
    assert problem in process.output()


def test_checks_say_which_addresses_a_project_has_not_given(project: Project) -> None:
    urls = project.folder / "shop" / "urls.py"
    shown = project.run("as it is", "python", "manage.py", "check")
    assert "no issues" in shown
    urls.write_text(urls.read_text().replace('path("", include("notifications.urls")),', ""))
    settings = project.folder / "shop" / "settings.py"
    settings.write_text(settings.read_text().replace("DEBUG = True", "DEBUG = False"))
    del project.env["BROKER_URL"]
    project.env["OUTBOX"] = "0"
    without = project.run("check", "python", "manage.py", "check")
    for id_, remedy in (
        ("W002", "BROKER_URL, like redis://"),
        ("W003", "EMAIL_URL=smtp://"),
        ("W004", 'include("notifications.urls")'),
        ("W005", "PUBLIC_URL=https://"),
    ):
        assert f"notifications.{id_}" in without
        assert remedy in without


def test_a_check_says_that_the_celery_app_is_not_set_up(project: Project) -> None:
    app = project.folder / "shop" / "celery.py"
    app.write_text(app.read_text().replace("notifications.celery.setup(app)\n", ""))
    process = project.start("check", "python", "manage.py", "check")
    assert process.wait() == 1
    assert "notifications.E006" in process.output()


def test_the_ready_made_project_runs_from_an_empty_folder(
    installed: Path, processes: Processes
) -> None:
    folder = temporary_folder("up")  # short: the broker's socket is in it
    env = {
        "PYTHONPATH": str(installed),
        "PORT": str(free_port()),
        "FLOWER_PORT": str(free_port()),
        "SMTP_PORT": str(free_port()),
        "ADMIN_PASSWORD": "a password of hers",
    }
    project = Project(folder, processes, env)
    notifications = str(installed / "bin" / "notifications")
    up = project.start("up", "python", notifications, "up")
    up.wait_for_output("Ctrl-C stops everything", timeout=120)
    assert (folder / "var" / "db.sqlite3").exists()
    assert "Welcome notification  sent" in up.output()
    assert "a password of hers" not in up.output()
    assert re.search(r"Log in as +admin, with the password in ADMIN_PASSWORD", up.output())
    up.terminate()
    assert up.wait() == 0
    assert "migrate" in project.run("help", "python", notifications, "help")
