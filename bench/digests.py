"""Events that join digests, beside the same events that are accepted to go by themselves."""

import time
from collections.abc import Callable
from typing import Any

from bench.benchmark import Benchmark, Sample
from bench.stage import Stage, empty

EVENTS = 50_000
DIGESTS = 1_000


def prepare(stage: Stage) -> Callable[[], Sample]:
    from templates_engine.models import Template
    from templates_engine.publishing import create_version, publish

    for name, body in (
        ("comment", "Comment {{ n }}"),
        ("comments", "{% for one in items %}{{ one.n }}\n{% endfor %}{{ rest }} more"),
    ):
        made = Template.objects.create(name=name, channel="simulator")
        publish(create_version(made, {"body": body}))

    def play() -> Sample:
        digest = {"key": "comments", "window": 3600, "template": "comments"}
        ours = _accept(stage, digest=digest)
        return Sample(ours=EVENTS / ours, floor=EVENTS / _accept(stage))

    return play


def _accept(stage: Stage, **more: Any) -> float:
    """Accept the events; return the seconds that it took."""
    from notifications.models import Digest, Notification
    from notifications.submission import send_many

    empty(stage)
    Digest.objects.all().delete()
    rows = ({"recipient": f"user{n % DIGESTS}", "context": {"n": n}} for n in range(EVENTS))
    started = time.perf_counter()
    send_many(rows, channel="simulator", template="comment", test=True, **more)
    seconds = time.perf_counter() - started
    if Notification.objects.count() != EVENTS + (DIGESTS if more else 0):
        raise RuntimeError("Not every event was accepted.")
    return seconds


DIGEST = Benchmark(
    title=f"{EVENTS:,} events into {DIGESTS:,} digests, accepted",
    floor_title="the same events without a digest",
    unit="/s",
    prepare=prepare,
)
