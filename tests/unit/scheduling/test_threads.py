"""A thread that lasts goes on after whatever its loop raises, and says it without the text."""

import logging

import pytest

from scheduling import threads


@pytest.mark.parametrize("error", [ValueError("Dear Ada"), MemoryError(), SystemExit("Dear Ada")])
def test_a_thread_goes_on_after_an_exception_until_its_loop_is_over(
    error: BaseException, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "FIRST_REST", 0.01)
    left = [error, error]

    def loop() -> None:
        if left:
            raise left.pop()

    thread = threads.lasting("sweeper", loop)
    thread.start()
    thread.join(10)
    assert not left
    assert not thread.is_alive()
    lines = [record for record in caplog.records if record.name == "scheduling.threads"]
    assert [line.levelno for line in lines] == [logging.ERROR] * 2
    assert all(f"{type(error).__name__} of sweeper at" in line.getMessage() for line in lines)
    assert "Dear Ada" not in caplog.text
