"""``python -m bench [NAME]``: run all benchmarks, or one, print and keep the figures."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.benchmark import Result, take
from bench.catalog import BENCHMARKS
from bench.stage import stage

RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str]) -> int:
    names = list(arguments) or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        print(f"No benchmark {', '.join(unknown)}. There are: {', '.join(BENCHMARKS)}")
        return 2
    results = []
    for name in names:
        with stage() as set_up:
            results.append(take(name, BENCHMARKS[name], set_up))
    _print(results)
    print(f"Kept in {_keep(results)}")
    return 0


def _print(results: list[Result]) -> None:
    table = Table("benchmark", "ours", "floor", "ratio", "rounds", "must reach")
    for result in results:
        table.add_row(
            f"{result.title}\nbeside {result.floor_title}",
            f"{result.ours:,.0f}{result.unit}",
            f"{result.floor:,.0f}{result.unit}",
            f"{result.ratio:.2f} x",
            " ".join(f"{sample.ratio:.2f}" for sample in result.rounds),
            result.target or "-",
        )
    Console().print(table)


def _keep(results: list[Result]) -> Path:
    """Write the figures, with what they were taken on, to a file of their own."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    taken_on = {
        "at": now.isoformat(),
        "commit": commit,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    figures = [result.as_json() for result in results]
    path.write_text(json.dumps({**taken_on, "results": figures}, indent=2) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
