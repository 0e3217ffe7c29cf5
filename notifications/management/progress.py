"""Progress of a long command: a bar on a terminal, a line every two seconds elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

EVERY = 2.0  # seconds


@contextmanager
def shown_on(stream: OutputWrapper, *, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress; yields a function to call with the number of rows that a batch did."""
    if stream.isatty():
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=total)
            yield lambda count: bar.advance(task, count)
        return
    done, last = 0, time.monotonic()

    def report(count: int) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            stream.write(f"{done} of {total}")

    yield report
