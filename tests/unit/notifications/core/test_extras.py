"""The command that installs an extra works where the package came from: it is not on PyPI."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from notifications.core import extras

CODE = "from notifications.core import extras; print(extras.command('dkim'))"


def test_a_checkout_names_its_own_folder() -> None:
    root = Path(extras.__file__).parents[2]
    assert extras.command("dkim") == f'pip install "{root}[dkim]"'


@pytest.mark.parametrize(
    ("noted", "command"),
    [
        ({"url": "file:///srv/src"}, 'pip install "notifications[dkim] @ file:///srv/src"'),
        (None, 'pip install "notifications-1.2.3-py3-none-any.whl[dkim]", the wheel'),
    ],
)
def test_what_was_installed_names_where_pip_took_it_from(
    tmp_path: Path, noted: dict[str, str] | None, command: str
) -> None:
    room = tmp_path / "notifications" / "core"
    room.mkdir(parents=True)
    for folder in (room.parent, room):
        (folder / "__init__.py").touch()
    (room / "extras.py").write_text(Path(extras.__file__).read_text())
    told = tmp_path / "notifications-1.2.3.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: notifications\nVersion: 1.2.3\n")
    if noted:
        (told / "direct_url.json").write_text(json.dumps(noted))
    run = subprocess.run(
        [sys.executable, "-c", CODE], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == command
