"""A pool that cannot end a run says so as its worker starts."""

from types import SimpleNamespace

import pytest
from celery.concurrency import get_implementation

from scheduling import execution


@pytest.mark.parametrize(
    ("pool", "ends_runs"), [("prefork", True), ("threads", False), ("solo", False)]
)
def test_a_pool_that_cannot_end_a_run_says_so_at_its_start(
    pool: str,
    ends_runs: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind = get_implementation(pool)
    monkeypatch.setattr(execution, "_ends_runs", None)
    execution._on_ready(SimpleNamespace(pool=kind.__new__(kind)))
    assert execution._ends_runs is ends_runs
    assert ("cannot end a run that takes too long" in caplog.text) is not ends_runs
