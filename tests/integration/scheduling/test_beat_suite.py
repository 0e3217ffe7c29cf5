"""django-celery-beat's own unit tests, run against our ``Scheduler`` and ``Entry``.

Its sdist carries them.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.scheduling.beat_suite_plugin import EXCLUDED
from tests.sdists import unpacked

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent


@pytest.fixture
def sdist(tmp_path: Path) -> Path:
    """Unpack the sdist of the installed version."""
    folder = unpacked("django-celery-beat", tmp_path)
    _make_collectable(folder / "t" / "unit" / "test_schedulers.py")
    return folder


def _make_collectable(tests: Path) -> None:
    """Take marks off fixtures, where they never had an effect and pytest 9 refuses them."""
    text = tests.read_text()
    tests.write_text(re.sub(r" *@pytest\.mark\.django_db\n( *@pytest\.fixture)", r"\1", text))


def test_its_own_unit_tests_pass_with_our_classes(sdist: Path) -> None:
    settings = "tests.integration.scheduling.beat_suite_settings"
    options = ["-q", "-p", "no:cacheprovider", "--ds", settings, "-o", "markers=celery"]
    plugin = ["-p", "tests.integration.scheduling.beat_suite_plugin"]
    env = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *plugin, "t/unit"],
        cwd=sdist,
        env=env | {"PYTHONPATH": f"{sdist}:{ROOT}", "DJANGO_SETTINGS_MODULE": settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert f"{len(EXCLUDED)} deselected" in run.stdout, "An excluded test does not exist any more"
