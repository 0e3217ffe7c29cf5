"""What the system keeps for itself is for its own user alone."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from notifications.core import private_files

ROOT = Path(__file__).resolve().parents[4]


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}


@pytest.mark.slow
def test_a_folder_that_was_there_is_taken_from_others_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    secret = folder / "secret_key"
    secret.write_text("x" * 50)
    secret.chmod(0o644)
    assert private_files.open_to_others(folder) == [folder, secret]
    subprocess.run(
        [sys.executable, "-c", "import config.settings"],
        env=os.environ | {"VAR_DIR": str(folder), "SECRET_KEY": ""},
        check=True,
        timeout=60,
    )
    assert modes(folder) == {"var": 0o700, "secret_key": 0o600}
    assert not private_files.open_to_others(folder)


def test_a_named_folder_that_holds_files_of_others_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for name in ("mail", "secret_key"):
        (tmp_path / name).touch(mode=0o644)
    private_files.make(tmp_path)
    assert modes(tmp_path) == {tmp_path.name: 0o755, "mail": 0o644, "secret_key": 0o600}
    assert private_files.open_to_others(tmp_path) == [tmp_path]


@pytest.mark.slow
def test_a_secret_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    subprocess.run(
        [sys.executable, "-c", "import os; os.umask(0); import config.settings"],
        env=os.environ | {"VAR_DIR": str(folder), "SECRET_KEY": ""},
        check=True,
        timeout=60,
    )
    assert modes(folder) == {"var": 0o700, "secret_key": 0o600}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "then"),
    [
        ({}, {"var": 0o700, ".notifications": 0o600, "secret_key": 0o600}),
        ({"db.sqlite3": 0o644}, {"var": 0o700, "db.sqlite3": 0o600, "secret_key": 0o600}),
        ({"log": 0o644, "spool": 0o644}, {"var": 0o755, "log": 0o644, "spool": 0o644}),
        ({".notifications": 0o600, "backup.sql": 0o644}, {"var": 0o700, "backup.sql": 0o644}),
    ],
    ids=["empty", "of before", "of others", "marked"],
)
def test_the_folder_that_nobody_named_is_left_where_others_use_it(
    tmp_path: Path, before: dict[str, Any], then: dict[str, Any]
) -> None:
    folder = tmp_path / "var"
    folder.mkdir()
    folder.chmod(0o755)
    for name, mode in before.items():
        (folder / name).touch()
        (folder / name).chmod(mode)
    # The code has no manage.py beside it, as where the package is installed.
    code = "import pathlib; pathlib.Path.exists = lambda path: False; import config.settings"
    env = {name: value for name, value in os.environ.items() if name != "VAR_DIR"}
    started = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=env | {"PYTHONPATH": str(ROOT), "SECRET_KEY": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "log" in before:
        assert started.returncode == 1
        assert started.stderr.strip().endswith("set VAR_DIR to one of its own.")
        assert modes(folder) == then
    else:
        assert started.returncode == 0, started.stderr
        assert modes(folder).items() >= then.items()
