"""What a benchmark is, and how its figures are taken."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from bench.stage import Stage

ROUNDS = 3


@dataclass(frozen=True)
class Sample:
    """One round: our figure and the floor's, in the benchmark's unit."""

    ours: float
    floor: float

    @property
    def ratio(self) -> float:
        return self.ours / self.floor


@dataclass(frozen=True)
class Benchmark:
    """``prepare`` sets the stage once and returns a function that plays one round.

    ``warm_ups`` rounds are played before those that count.
    """

    title: str
    floor_title: str
    unit: str
    prepare: Callable[[Stage], Callable[[], Sample]]
    target: str = ""
    warm_ups: int = 1


@dataclass(frozen=True)
class Result:
    """The medians of all rounds, and the rounds themselves.

    ``seconds`` is how long a round took, the median; ``set_up`` what came before the first, warm-up
    rounds among it.
    """

    name: str
    title: str
    floor_title: str
    unit: str
    target: str
    ours: float
    floor: float
    ratio: float
    rounds: list[Sample]
    seconds: float
    set_up: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, written: dict[str, Any]) -> "Result":
        """Read what ``as_json`` gave."""
        return cls(**{**written, "rounds": [Sample(**sample) for sample in written["rounds"]]})


def take(name: str, benchmark: Benchmark, stage: Stage, rounds: int = ROUNDS) -> Result:
    """Play what warms up, then ``rounds`` that count."""
    began = time.monotonic()
    play = benchmark.prepare(stage)
    for _ in range(benchmark.warm_ups):
        play()
    set_up = time.monotonic() - began
    samples, seconds = zip(*(_timed(play) for _ in range(rounds)), strict=True)
    return Result(
        name=name,
        title=benchmark.title,
        floor_title=benchmark.floor_title,
        unit=benchmark.unit,
        target=benchmark.target,
        ours=statistics.median(sample.ours for sample in samples),
        floor=statistics.median(sample.floor for sample in samples),
        # of the pairs, not of the medians: noise hits both halves of a round alike
        ratio=statistics.median(sample.ratio for sample in samples),
        rounds=list(samples),
        seconds=statistics.median(seconds),
        set_up=set_up,
    )


def _timed(play: Callable[[], Sample]) -> tuple[Sample, float]:
    began = time.monotonic()
    sample = play()
    return sample, time.monotonic() - began
