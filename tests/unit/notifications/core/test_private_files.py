"""What the system keeps for itself is for its own user alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from notifications.core import private_files


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())}


@pytest.mark.slow
def test_a_folder_that_was_there_is_taken_from_others_at_the_start(tmp_path):
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


@pytest.mark.slow
def test_a_secret_that_is_made_is_its_owners_alone(tmp_path):
    folder = tmp_path / "var"
    subprocess.run(
        [sys.executable, "-c", "import os; os.umask(0); import config.settings"],
        env=os.environ | {"VAR_DIR": str(folder), "SECRET_KEY": ""},
        check=True,
        timeout=60,
    )
    assert modes(folder) == {"var": 0o700, "secret_key": 0o600}
