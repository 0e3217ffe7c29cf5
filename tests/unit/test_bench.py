"""``make bench`` takes names and patterns, and as many rounds as it is told."""

import json
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import page
from bench.benchmark import Result, Sample
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


def test_the_page_shows_the_newest_figure_and_urgent_ones_by_kind_and_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(name: str, at: int, ours: float, floor: float) -> None:
        sample = Sample(ours, floor)
        result = Result(
            *(name, name, "the floor", " ms", "<= 1 x", ours, floor, sample.ratio),
            *([sample], 1.0, 1.0),
        )
        path = tmp_path / f"2026112{at}T000000Z.json"
        path.write_text(json.dumps({"results": [result.as_json()]}))

    keep("bulk", 1, 5, 1)
    keep("high_behind_smtp_0", 2, 40, 50)
    keep("high_behind_http_20", 3, 90, 50)
    keep("bulk", 4, 7, 10)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    document = tmp_path / "page.md"
    document.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    assert page.main([str(document)]) == 0
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| bulk | 7 ms | 10 ms: the floor | 0.7 | <= 1 x | yes | `bulk` |" in text
    assert "| high p99 | 0 ms a call | 20 ms a call |" in text
    assert "| `high_behind_smtp_…` | 40 of 50 | - |" in text
    assert "| `high_behind_http_…` | - | **90 of 50** |" in text
    assert "old" not in text
    document.write_text("no marks")
    assert page.main([str(document)]) == 2
