"""Where the time of the bulk path goes: processor time per notification, process by process.

    python -m bench.profile [ROWS]

Processor time, unlike the clock on the wall, hardly depends on what else the machine does.
"""

import sys

import psutil

from bench import bulk
from bench.stage import Stage, stage

ROWS = 100_000


def main() -> int:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with stage() as set_up:
        bulk.prepare_ours(set_up)
        bulk.seconds_for(bulk.ROWS, set_up)  # warm up
        before = _seconds(set_up)
        seconds = bulk.seconds_for(rows, set_up)
        after = _seconds(set_up)
    sys.stdout.write(f"{rows:,} notifications in {seconds:.1f} s: {rows / seconds:,.0f}/s\n")
    spent = {name: (after[name] - before[name]) / rows * 1e6 for name in after}
    for name, microseconds in sorted(spent.items(), key=lambda item: -item[1]):
        sys.stdout.write(f"{name:<32}{microseconds:>8.1f} µs\n")
    sys.stdout.write(f"{'together':<32}{sum(spent.values()):>8.1f} µs\n")
    return 0


def _seconds(set_up: Stage) -> dict[str, float]:
    """Give the processor seconds so far of everything that takes part, by what it is."""
    found = {"the caller, send_many": _own(psutil.Process())}
    for name, pid in set_up.pids().items():
        process = psutil.Process(pid)
        if name == "worker":
            found["worker, main process"] = _own(process)
            found["worker, its children"] = sum(map(_tree, process.children()))
        else:
            found[name] = _tree(process)
    return found


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _tree(process: psutil.Process) -> float:
    """Give the seconds of a process, its children, and those that are gone."""
    times = process.cpu_times()
    gone = times.children_user + times.children_system
    return float(_own(process) + gone + sum(map(_tree, process.children())))


if __name__ == "__main__":
    sys.exit(main())
