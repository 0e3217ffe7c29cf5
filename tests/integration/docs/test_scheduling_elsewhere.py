"""The scheduler in a Celery app without Django, and in another Django project, as its page says."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages import DOCS, examples, files
from tests.servers.processes import ROOT, Processes
from tests.servers.redis import RedisServer

PAGE = "scheduling-elsewhere.md"
TEXT = (DOCS / PAGE).read_text()
FOREIGN = ("DJANGO_SETTINGS_MODULE", "DATABASE_URL", "BROKER_URL", "SCHEDULING_BACKEND")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report"
    path.touch()
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, report: Path, redis_server: RedisServer) -> Iterator[Processes]:
    """Have the page's files in a folder, and processes that know nothing of this project."""
    for name, code in files(PAGE).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    (tmp_path / "shopsite" / "__init__.py").touch()
    env = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    env |= {
        "REDIS_URL": redis_server.url,
        "REPORT": str(report),
        "SHOP_DB": str(tmp_path / "shop.sqlite3"),
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
    }
    group = Processes(env, tmp_path, forks=False)
    yield group
    group.end_all()


def test_the_page_sets_what_its_files_read() -> None:
    set_there = set(re.findall(r"(\w+)=\S", "".join(re.findall(r"^\$ export .*", TEXT, re.M))))
    read = set(re.findall(r'environ\["(\w+)"\]', "".join(files(PAGE).values())))
    assert read <= set_there


def test_a_celery_app_without_django_has_the_scheduler(
    elsewhere: Processes, report: Path, wait_until: Callable[..., Any]
) -> None:
    beat = "celery -A reports beat -S scheduling.backends.redis:Scheduler"
    schedulers = [elsewhere.start("beat", *beat.split()) for _ in range(2)]
    worker = elsewhere.start("worker", *["celery", "-A", "reports", "worker", "-c", "1"])
    (code,) = examples(PAGE, "python")
    printed = elsewhere.run("python", sys.executable, "-c", code)
    assert "'nightly'" in printed
    assert "False 1" in printed
    wait_until(lambda: report.read_text().count("refreshed") >= 2)
    wait_until(lambda: "built sales" in report.read_text())
    schedulers[0].kill()
    before = report.read_text().count("refreshed")
    wait_until(lambda: report.read_text().count("refreshed") >= before + 2)
    worker.terminate()
    schedulers[1].terminate()
    assert (worker.wait(), schedulers[1].wait()) == (0, 0)
    seen = """
from reports import refresh
from scheduling import jobs
fires = jobs.fires(refresh.name)
print(sum(fire.status == "succeeded" for fire in fires), len({f.scheduled_for for f in fires}))
"""
    succeeded, due_times = elsewhere.run("python", sys.executable, "-c", seen).split()
    assert int(succeeded) == report.read_text().count("refreshed")
    assert int(due_times) >= int(succeeded)


def test_an_apps_own_tests_move_a_clock(elsewhere: Processes, tmp_path: Path) -> None:
    tests = str(tmp_path / "test_reports.py")
    options = ("-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path))
    printed = elsewhere.run("pytest", sys.executable, "-m", "pytest", *options, tests)
    assert "1 passed" in printed


def test_another_django_project_has_the_scheduler(
    elsewhere: Processes, report: Path, wait_until: Callable[..., Any]
) -> None:
    elsewhere.env["DJANGO_SETTINGS_MODULE"] = "shopsite.settings"
    elsewhere.run("migrate", sys.executable, "-m", "django", "migrate", "-v0")
    (code,) = examples(PAGE, "django")
    elsewhere.run("shell", sys.executable, "-m", "django", "shell", "-v0", "-c", code)
    elsewhere.start("beat", "celery", "-A", "shopsite", "beat")
    elsewhere.start("worker", "celery", "-A", "shopsite", "worker", "-c", "1")
    wait_until(lambda: "restocked tea" in report.read_text())
