"""A project that forgets a line of docs/adopting.md is told which, by whatever it runs first."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from notifications.settings import NOTIFICATIONS_APPS
from tests.servers.processes import ROOT

CELERY = str(Path(sys.executable).parent / "celery")
CHECK = (sys.executable, "manage.py", "check")
IMPORT = (sys.executable, "-c", "import django; django.setup(); import notifications.submission")
WORKER = (CELERY, "-A", "shop", "worker", "-c", "1", "-P", "solo")
BEAT = (CELERY, "-A", "shop", "beat")

SETTINGS, APP = "shop/settings.py", "shop/celery.py"
ALL_APPS = "use INSTALLED_APPS = [*NOTIFICATIONS_APPS, …]"
ADDS_APPS = "INSTALLED_APPS = [*NOTIFICATIONS_APPS, *INSTALLED_APPS]"
SET_UP = "notifications.E006: The Celery app 'shop' is not set up"
CONFIGURES = 'app.config_from_object("django.conf:settings", namespace="CELERY")'
# The file, the line without which it is, what runs then, and what is said.
LINES = [
    (SETTINGS, "from notifications.settings import *", CHECK, "from notifications.settings import"),
    (SETTINGS, "from notifications.settings import *", WORKER, "from notifications.settings imp"),
    (SETTINGS, "INSTALLED_APPS.remove", CHECK, 'INSTALLED_APPS.remove("django.contrib.admin")'),
    (SETTINGS, ADDS_APPS, CHECK, ALL_APPS),
    (SETTINGS, ADDS_APPS, WORKER, ALL_APPS),
    (SETTINGS, ADDS_APPS, IMPORT, ALL_APPS),
    (SETTINGS, '    "django.contrib.auth",', CHECK, "INSTALLED_APPS lacks django.contrib.auth"),
    (SETTINGS, '    "django.contrib.contenttypes",', CHECK, "lacks django.contrib.contenttypes"),
    (SETTINGS, "MIDDLEWARE = [*NOTI", CHECK, "MIDDLEWARE = [*NOTIFICATIONS_MIDDLEWARE, …]"),
    (APP, "os.environ.setdefault", WORKER, 'os.environ.setdefault("DJANGO_SETTINGS_MODULE"'),
    (APP, "notifications.celery.setup(app)", CHECK, "Call notifications.celery.setup(app)"),
    (APP, "notifications.celery.setup(app)", WORKER, SET_UP),
    (APP, CONFIGURES, CHECK, CONFIGURES),
    (APP, CONFIGURES, WORKER, CONFIGURES),
    (APP, CONFIGURES, BEAT, CONFIGURES),
    (APP, "os.environ.setdefault", BEAT, 'os.environ.setdefault("DJANGO_SETTINGS_MODULE"'),
    (SETTINGS, "from notifications.settings import *", BEAT, "from notifications.settings imp"),
    (SETTINGS, ADDS_APPS, BEAT, ALL_APPS),
    (APP, "app.autodiscover_tasks()", WORKER, "Call app.autodiscover_tasks()"),
    ("shop/__init__.py", "from shop.celery", CHECK, "import the app in your project's __init__.py"),
    ("shop/urls.py", '    path("", include', CHECK, 'path("", include("notifications.urls"))'),
]

pytestmark = pytest.mark.slow


def without(line: str, file: Path) -> None:
    """Take the lines that begin so out of a file."""
    lines = file.read_text().splitlines()
    rest = ["" if text.startswith(line) else text for text in lines]
    assert rest != lines
    if file.name == "__init__.py":
        rest.append("celery_app = None")  # which the next line exports
    file.write_text("\n".join(rest))


def run(project: Path, command: tuple[str, ...]) -> str:
    """Return what a command of the project says."""
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    # Neither broker nor database: each process ends, or says what it does, before it needs them.
    env |= {"PYTHONPATH": str(ROOT), "BROKER_URL": "redis://127.0.0.1:1/0"}
    if command not in (WORKER, BEAT):
        env["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    ended = subprocess.run(
        command, cwd=project, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    if command != CHECK:
        assert ended.returncode != 0
    return ended.stderr + ended.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "examples" / "shop", tmp_path / "project"))


@pytest.mark.parametrize(("file", "line", "command", "said"), LINES)
def test_a_line_that_a_project_lacks_is_named(
    project: Path, file: str, line: str, command: tuple[str, ...], said: str
) -> None:
    without(line, project / file)
    assert said in run(project, command)


@pytest.mark.parametrize("app", NOTIFICATIONS_APPS)
def test_an_app_that_a_project_lacks_is_named_with_what_to_add(project: Path, app: str) -> None:
    settings = project / SETTINGS
    chosen = f"[one for one in NOTIFICATIONS_APPS if one != {app!r}]"
    settings.write_text(settings.read_text().replace("[*NOTIFICATIONS_APPS", f"[*{chosen}"))
    told = run(project, CHECK)
    assert f"INSTALLED_APPS lacks {app}" in told
    assert "NOTIFICATIONS_APPS" in told or f'add "{app}"' in told
    assert "RuntimeError" not in told


def test_a_beat_whose_app_is_not_set_up_says_so_and_ends(project: Path) -> None:
    migrate = (sys.executable, "manage.py", "migrate", "-v0")
    env = os.environ | {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "shop.settings"}
    env.pop("DATABASE_URL", None)
    subprocess.run(migrate, cwd=project, env=env, check=True, timeout=200)
    without("notifications.celery.setup(app)", project / APP)
    assert SET_UP in run(project, BEAT)
