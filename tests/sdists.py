"""Other projects' own tests, from the source distributions of their installed versions.

They are fetched by pip when a test wants them, and kept beside other runs' in the folder for
temporary files; without a package index the test is skipped.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest


def unpacked(package: str, into: Path) -> Path:
    """Unpack the source distribution of a package's installed version; return its folder."""
    wanted = f"{package.replace('-', '_')}-{version(package)}"
    archive = Path(tempfile.gettempdir()) / f"sdists-{os.getuid()}" / f"{wanted}.tar.gz"
    if not archive.exists():
        _download(package, archive.parent)
    with tarfile.open(archive) as packed:
        if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
            packed.extraction_filter = tarfile.data_filter
        packed.extractall(into)
    return into / wanted


def _download(package: str, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    fetched = subprocess.run(
        [*pip, "--no-binary", package, f"{package}=={version(package)}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if fetched.returncode:
        pytest.skip(f"pip could not fetch {package}: {fetched.stderr[-300:]}")
