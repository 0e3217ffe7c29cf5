"""``make bench`` takes names and patterns, and as many rounds as it is told."""

import pytest

from bench import __main__ as bench
from bench.catalog import BENCHMARKS
from bench.targets import is_met


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


@pytest.mark.parametrize(
    ("target", "ours", "ratio", "met"),
    [
        (">= 0.5 x", 1000, 0.5, True),
        (">= 0.5 x", 1000, 0.49, False),
        ("<= 300 ms", 300, 9, True),
        ("<= 300 ms", 301, 0.1, False),
        (">= 15,000 rows/s", 14_999, 1, False),
        ("<= 500 µs, <= 1.2 x", 400, 1.3, False),
    ],
)
def test_a_target_is_of_the_ratio_or_of_the_figure(
    target: str, ours: float, ratio: float, met: bool
) -> None:
    assert is_met(target, ours=ours, ratio=ratio) is met


def test_every_target_can_be_read() -> None:
    for benchmark in BENCHMARKS.values():
        if benchmark.target:
            is_met(benchmark.target, ours=1, ratio=1)
    with pytest.raises(ValueError, match="no target"):
        is_met("fast", ours=1, ratio=1)
