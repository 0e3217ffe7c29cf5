"""What the tests of a batch with a row at fault share."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from notifications.providers import accounts


@pytest.fixture
def sent(settings: Settings, tmp_path: Path) -> Iterator[Callable[[], Counter[str]]]:
    """Have the simulator note what it sends; count the times by id."""
    path = tmp_path / "simulated.log"
    settings.SIMULATOR = f"record={path}"
    accounts.forget()
    yield lambda: Counter(path.read_text().split() if path.exists() else ())
    accounts.forget()
