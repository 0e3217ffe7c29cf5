"""``python -m bench.page``: print the newest figure of each benchmark as a table in Markdown.

``python -m bench.page docs/performance.md`` writes the table into a page, between its two marks.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.__main__ import RESULTS, figure
from bench.benchmark import Result
from bench.catalog import BENCHMARKS
from bench.targets import is_met

BEGIN, END = "<!-- figures: make bench -->", "<!-- figures end -->"
_HEAD = (
    "| figure | ours | beside | ratio (rounds) | must reach | met | `ONLY=` |",
    "|---|---|---|---|---|---|---|",
)


def main(arguments: Sequence[str]) -> int:
    table = "\n".join([*_HEAD, *(_line(result) for result in _newest())])
    if not arguments:
        print(table)
        return 0
    page = Path(arguments[0])
    before, _, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        print(f"{page} has no {BEGIN} and {END}.")
        return 2
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
    return 0


def _newest() -> list[Result]:
    """Return the newest result of each benchmark that was taken, in the catalog's order."""
    newest = {}
    for path in sorted(RESULTS.glob("*.json")):
        for written in json.loads(path.read_text())["results"]:
            newest[written["name"]] = Result.of(written)
    return [newest[name] for name in BENCHMARKS if name in newest]


def _line(result: Result) -> str:
    rounds = " ".join(figure(sample.ratio) for sample in result.rounds)
    met = ""
    if result.target:
        met = "yes" if is_met(result.target, ours=result.ours, ratio=result.ratio) else "**no**"
    cells = [
        result.title,
        f"{figure(result.ours)}{result.unit}",
        f"{figure(result.floor)}{result.unit}: {result.floor_title}",
        f"{figure(result.ratio)} ({rounds})" if len(result.rounds) > 1 else figure(result.ratio),
        result.target or "-",
        met or "-",
        f"`{result.name}`",
    ]
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
