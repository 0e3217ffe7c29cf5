"""``python -m bench.page``: print the newest figure of each benchmark as a table in Markdown.

``python -m bench.page docs/performance.md`` writes the table into a page, between its two marks.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.__main__ import RESULTS, figure
from bench.benchmark import Result
from bench.catalog import BENCHMARKS
from bench.targets import is_met

_OF_URGENT = re.compile(r"(high|medium)_behind_([a-z]+)_(\d+)")
BEGIN, END = "<!-- figures: make bench -->", "<!-- figures end -->"
_HEAD = (
    "| figure | ours | beside | ratio (rounds) | must reach | met | `ONLY=` |",
    "|---|---|---|---|---|---|---|",
)


def main(arguments: Sequence[str]) -> int:
    newest = _newest()
    others = [_line(result) for result in newest if _place(result) is None]
    table = "\n".join([*_HEAD, *others, *_matrix(newest, "high"), *_matrix(newest, "medium")])
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


def _place(result: Result) -> tuple[str, ...] | None:
    """Return the priority, kind and pace of a benchmark of urgent messages, None of another."""
    found = _OF_URGENT.fullmatch(result.name)
    return found and found.groups()


def _matrix(results: Sequence[Result], priority: str) -> list[str]:
    """Return the p99 of a priority beside what it may be, by kind and pace, in milliseconds."""
    places = {_place(result): result for result in results}
    taken = [place[1:] for place in places if place and place[0] == priority]
    if not taken:
        return []
    kinds, paces = (list(dict.fromkeys(column)) for column in zip(*taken, strict=True))
    lines = [
        "",
        f"| {priority} p99 | {' | '.join(f'{pace} ms a call' for pace in paces)} |",
        f"|---|{'---|' * len(paces)}",
    ]
    for kind in kinds:
        cells = [_cell(places.get((priority, kind, pace))) for pace in paces]
        lines.append(f"| `{priority}_behind_{kind}_…` | {' | '.join(cells)} |")
    return lines


def _cell(result: Result | None) -> str:
    if result is None:
        return "-"
    words = f"{figure(result.ours)} of {figure(result.floor)}"
    return words if result.ratio <= 1 else f"**{words}**"


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
