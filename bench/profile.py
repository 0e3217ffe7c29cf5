"""Where the time goes: processor time per notification, by process and by step.

    python -m bench.profile [bulk | email | call | post] [ROWS]

``bulk`` (the default) is the bulk path, ``email`` mail over SMTP, by process; ``call`` one
``apply_async`` after the other, ``post`` one ``POST /notifications`` after the other. Processor
time, unlike the clock on the wall, hardly depends on what else the machine does. The steps are
taken in one process, by looking at its stack again and again; Postgres' part of each half is what
its backend for that process spent.
"""

import logging
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import psutil

from bench import bulk, email
from bench.api import MESSAGE
from bench.stage import Stage, backend, empty, stage

ROWS = 100_000
MAILS = 20_000
CALLS = 5000
EACH = 0.001  # seconds of processor time between two looks at the stack
STEPS = {
    ("building", "read"): "check the request",
    ("addressing", "check"): "check the request",
    ("insert", "build"): "build the row",
    ("building", "build"): "category, window, throttles",
    ("insert", "insert"): "COPY the rows",
    ("claims", "claim_due"): "claim",
    ("pipeline", "_deliver"): "expiry, suppression, windows, chains",
    ("pipeline", "_render"): "render",
    ("simulator", "send"): "the provider's part",
    ("sending", "send_batch"): "hand over",
    ("outcomes", "_decide"): "decide what happens next",
    ("outcomes", "_settle"): "record: the rows' state",
    ("outcomes", "_keep_attempts"): "record: COPY the attempts",
    ("metrics", "recorded"): "count for the metrics",
}
SINGLE_STEPS = {
    ("requests", "read"): "check the request",
    ("validation", "check"): "check the request",
    ("insert", "build"): "build the row",
    ("suppressions", "among"): "ask who must not be written to",
    ("release_window", "admit"): "ask for room in the queue",
    ("insert", "insert"): "INSERT",
    ("publisher", "publish_one"): "publish",
    ("metrics", "accepted"): "count for the metrics",
    ("transaction", "__enter__"): "begin and commit",
    ("transaction", "__exit__"): "begin and commit",
    ("authentication", "permit"): "ask whose key it is, count its calls",
    ("notifications", "create_notification"): "the rest of the view",
    ("single", "submit"): "the rest of submit()",
    ("operation", "_result_to_response"): "write the answer",
    ("operation", "run"): "read the body; the rest of ninja",
    ("base", "get_response"): "middleware, and finding the view",
    ("tasks", "apply_async"): "what Celery's options mean",
}


def main(arguments: Sequence[str]) -> int:
    page, rows = "bulk", 0
    for argument in arguments:
        if argument.isdecimal():
            rows = int(argument)
        else:
            page = argument
    logging.disable(logging.INFO)
    with stage() as set_up:
        match page:
            case "bulk":
                bulk.publish_template()
                _by_step(rows or ROWS, set_up)
                bulk.prepare_ours(set_up)
                bulk.seconds_for(bulk.ROWS, set_up)  # warms up
                _by_process(rows or ROWS, set_up, lambda: bulk.seconds_for(rows or ROWS, set_up))
            case "email":
                email.set_up(set_up)
                email.seconds_for(email.MAILS)  # warms up
                _by_process(rows or MAILS, set_up, lambda: email.seconds_for(rows or MAILS))
            case "call":
                _halves((_call,), rows or CALLS, SINGLE_STEPS, set_up)
            case "post":
                _halves((_post,), rows or CALLS, SINGLE_STEPS, set_up)
            case _:
                print(__doc__)
                return 2
    return 0


def _by_process(rows: int, set_up: Stage, send: Callable[[], float]) -> None:
    """Send so many, and print what it took by the processes that took part."""
    before = _seconds(set_up)
    seconds = send()
    after = _seconds(set_up)
    print(f"\n{rows:,} notifications in {seconds:.1f} s: {rows / seconds:,.0f}/s")
    _table({name: after[name] - before[name] for name in after}, rows)


def _by_step(rows: int, set_up: Stage) -> None:
    for half in (_accept, _deliver):
        half(bulk.ROWS)  # warms up
    empty(set_up)
    _halves((_accept, _deliver), rows, STEPS, set_up)


def _halves(
    halves: Iterable[Callable[[int], None]],
    rows: int,
    steps: Mapping[tuple[str, str], str],
    set_up: Stage,
) -> None:
    """Do each for so many rows, and print what it took by its steps."""
    for half in halves:
        session, found = backend(), Counter[str]()
        own, its = _own(psutil.Process()), _own(session)
        with _sampled(found, steps):
            half(rows)
        own, its = _own(psutil.Process()) - own, _own(session) - its
        print(f"\n{half.__doc__}")
        looks = found.total()
        spent = {step: own * count / looks for step, count in found.items()}
        _table({**spent, "Postgres": its}, rows)
    empty(set_up)


def _call(calls: int) -> None:
    """One ``apply_async`` after the other, durable on return."""
    from notifications.tasks import send_notification

    for _ in range(calls):
        send_notification.apply_async(kwargs=MESSAGE)


def _post(calls: int) -> None:
    """One ``POST /notifications`` after the other, in the process that asks."""
    from django.test import Client, override_settings

    from notifications.operations import api_keys

    token = api_keys.create("profile", rate=1_000_000).token
    headers = {"authorization": f"Bearer {token}"}
    client, address = Client(), "/api/v1/notifications"
    with override_settings(ALLOWED_HOSTS=["*"]):
        for _ in range(calls):
            answer = client.post(address, MESSAGE, "application/json", headers=headers)
            if answer.status_code != 201:
                raise RuntimeError(f"It answered {answer.status_code}.")


def _accept(rows: int) -> None:
    """Measure the acceptance, step by step."""
    from notifications.queueing import release

    publish_now, release.publish_now = release.publish_now, lambda: None  # nobody listens
    try:
        bulk.accept(rows)
    finally:
        release.publish_now = publish_now


def _deliver(_: int) -> None:
    """Delivering, step by step."""
    from notifications.core.conf import conf
    from notifications.delivery import claims, pipeline

    while taken := claims.claim_due("simulator", "low", conf.batch["low"]):
        pipeline.deliver(taken, worker="profile")


@contextmanager
def _sampled(found: Counter[str], steps: Mapping[tuple[str, str], str]) -> Iterator[None]:
    """Count the steps that the stack is in, once per ``EACH``."""

    def look(_: int, frame: FrameType | None) -> None:
        while frame is not None:
            module = frame.f_globals.get("__name__", "").rpartition(".")[2]
            if step := steps.get((module, frame.f_code.co_name)):
                found[step] += 1
                return
            frame = frame.f_back
        found["the rest"] += 1

    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, EACH, EACH)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _table(seconds: dict[str, float], rows: int) -> None:
    """Print microseconds for each, the most first, and their sum."""
    for name, each in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"{name:<32}{each / rows * 1e6:>8.1f} µs")
    print(f"{'together':<32}{sum(seconds.values()) / rows * 1e6:>8.1f} µs")


def _seconds(set_up: Stage) -> dict[str, float]:
    """Return the processor seconds so far of everything that takes part, by what it is."""
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
    """Return the seconds of a process, its children, and those that are gone."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # it ended meanwhile, and its parent's figures have it
        return 0.0
    gone = times.children_user + times.children_system
    return float(_own(process) + gone + sum(map(_tree, process.children())))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
