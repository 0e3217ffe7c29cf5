"""``python -m bench [NAME …]``: run all benchmarks, or some, print and keep the figures.

A name may be a pattern, like ``high_behind_*``. The variable ROUNDS says how many rounds count.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.benchmark import ROUNDS, Result
from bench.catalog import BENCHMARKS
from bench.targets import is_met

RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str]) -> int:
    if unknown := [wanted for wanted in arguments if not matching([wanted])]:
        print(f"No benchmark {', '.join(unknown)}. There are: {', '.join(BENCHMARKS)}")
        return 2
    rounds = os.environ.get("ROUNDS") or str(ROUNDS)
    if not rounds.isdecimal() or int(rounds) < 1:
        print(f"ROUNDS is {rounds!r}; it must be a number, 1 or more.")
        return 2
    names = matching(arguments or ["*"])
    before = _kept()
    results: list[Result] = []
    kept_in = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    for number, name in enumerate(names, 1):
        print(f"{number} of {len(names)}: {name} …", flush=True)
        if result := _taken(name, rounds):
            results.append(result)
            _keep(results, kept_in)  # each at once: a long run may be ended
            print(f"  {figure(result.ratio)} x, must reach {result.target or '-'}", flush=True)
    _print(results, before)
    if results:
        print(f"Kept in {kept_in}")
    return 0 if len(results) == len(names) else 1


def matching(wanted: Sequence[str]) -> list[str]:
    """Return the benchmarks that any of these names or patterns names, in the catalog's order."""
    return [name for name in BENCHMARKS if any(fnmatchcase(name, one) for one in wanted)]


def _taken(name: str, rounds: str) -> Result | None:
    """Take one benchmark's figures in a process of its own; None if that failed."""
    process = subprocess.run(
        [sys.executable, "-m", "bench.single", name, rounds],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if process.returncode:
        print(f"{name} failed, as told above.")
        return None
    return Result.of(json.loads(process.stdout.splitlines()[-1]))


def _print(results: list[Result], before: dict[str, float]) -> None:
    table = Table(
        "benchmark", "ours", "floor", "ratio", "rounds", "before", "must reach", "met", "s"
    )
    for result in results:
        table.add_row(
            f"{result.title}\nbeside {result.floor_title}",
            f"{figure(result.ours)}{result.unit}",
            f"{figure(result.floor)}{result.unit}",
            f"{figure(result.ratio)} x",
            " ".join(figure(sample.ratio) for sample in result.rounds),
            f"{figure(before[result.name])} x" if result.name in before else "-",
            result.target or "-",
            _met(result),
            f"{result.set_up:.0f} + {len(result.rounds)} x {result.seconds:.0f}",
        )
    Console(width=156).print(table)


def _met(result: Result) -> str:
    if not result.target:
        return "-"
    return "yes" if is_met(result.target, ours=result.ours, ratio=result.ratio) else "NO"


def figure(value: float) -> str:
    """Write a figure with as many digits as are worth reading."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def _kept() -> dict[str, float]:
    """Return the ratio of each benchmark in the newest file that has it."""
    ratios = {}
    for path in sorted(RESULTS.glob("*.json")):
        for result in json.loads(path.read_text())["results"]:
            ratios[result["name"]] = result["ratio"]
    return ratios


def _keep(results: list[Result], path: Path) -> None:
    """Write the figures, with what they were taken on, to a file of their own."""
    RESULTS.mkdir(exist_ok=True)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    taken_on = {
        "at": datetime.now(UTC).isoformat(),
        "commit": commit,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    figures = [result.as_json() for result in results]
    path.write_text(json.dumps({**taken_on, "results": figures}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
