"""A pytest plugin: ``pytest_plugins = ["scheduling.testing.plugin"]`` in a ``conftest.py``.

The fixture ``scheduling_clock`` is a ``scheduling.testing.clock``. It begins at the moment that the
test's mark names: ``@pytest.mark.scheduling_clock("2026-03-29T00:00Z")``.
"""

from collections.abc import Iterator

import pytest

from scheduling.testing import Clock, clock

START = "2026-01-01T00:00Z"
"""Where a clock begins that no mark sets."""


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "scheduling_clock(start): when scheduling_clock begins")


@pytest.fixture
def scheduling_clock(request: pytest.FixtureRequest) -> Iterator[Clock]:
    """Have the test's jobs live in memory, by a clock that it moves."""
    mark = request.node.get_closest_marker("scheduling_clock")
    with clock(mark.args[0] if mark else START) as moved:
        yield moved
