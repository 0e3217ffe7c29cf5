"""django-celery-beat's own unit tests, run against our ``Scheduler`` and ``Entry``.

Its sdist carries them. It is fetched by pip when the test runs and kept in pytest's cache; without
a package index the test is skipped.
"""

import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.integration.scheduling.beat_suite_plugin import EXCLUDED

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent


@pytest.fixture
def sdist(pytestconfig: pytest.Config, tmp_path: Path) -> Path:
    """Unpack the sdist of the installed version."""
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("django-celery-beat")
    name = f"django_celery_beat-{version('django-celery-beat')}"
    archive = folder / f"{name}.tar.gz"
    if not archive.exists():
        _download(folder)
    with tarfile.open(archive) as packed:
        if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
            packed.extraction_filter = tarfile.data_filter
        packed.extractall(tmp_path)
    _make_collectable(tmp_path / name / "t" / "unit" / "test_schedulers.py")
    return tmp_path / name


def _download(folder: Path) -> None:
    package = f"django-celery-beat=={version('django-celery-beat')}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    fetched = subprocess.run(
        [*pip, "--no-binary", "django-celery-beat", package],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    if fetched.returncode:
        pytest.skip(f"pip could not fetch {package}: {fetched.stderr[-300:]}")


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
