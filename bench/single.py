"""``python -m bench.single NAME ROUNDS``: one benchmark in a process and on servers of its own.

Django knows one database per process, so each benchmark has a process; the figures are the
last line that it prints, as JSON.
"""

import json
import logging
import sys

from bench.benchmark import take
from bench.catalog import BENCHMARKS
from bench.stage import stage


def main(name: str, rounds: int) -> int:
    logging.disable(logging.INFO)  # stock tells of every schedule that it fires
    with stage() as set_up:
        result = take(name, BENCHMARKS[name], set_up, rounds)
    sys.stdout.write(f"{json.dumps(result.as_json())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
