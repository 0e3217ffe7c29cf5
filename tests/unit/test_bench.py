"""``make bench`` takes names and patterns, and as many rounds as it is told."""

import pytest

from bench import __main__ as bench
from bench.catalog import BENCHMARKS


def test_a_pattern_names_a_group_of_benchmarks_in_the_order_of_the_catalog() -> None:
    assert bench.matching(["*"]) == list(BENCHMARKS)
    found = bench.matching(["high_behind_smtp_*", "bulk"])
    assert found == ["bulk", *(f"high_behind_smtp_{pace}" for pace in (0, 20, 100, 500))]


def test_a_name_that_nothing_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["bulk", "bulky"]) == 2
    assert "No benchmark bulky." in capsys.readouterr().out


@pytest.mark.parametrize("rounds", ["0", "-1", "many"])
def test_a_number_of_rounds_that_is_none_is_refused(
    rounds: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROUNDS", rounds)
    assert bench.main(["bulk"]) == 2
    assert "ROUNDS" in capsys.readouterr().out
