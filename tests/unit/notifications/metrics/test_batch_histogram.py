"""A histogram that takes in a batch says what one that takes in single values says."""

import random

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from notifications.metrics.batch_histogram import BatchHistogram

BOUNDS = (0.001, 0.5, 1, 30)


def exposed(registry: CollectorRegistry) -> list[str]:
    text = generate_latest(registry).decode().replace("at_once", "one_by_one")
    return [line for line in text.splitlines() if "_created" not in line]


def test_a_batch_counts_as_its_values_do() -> None:
    amounts = [0.0, 0.001, 0.0011, 0.5, 1, 29.999, 30, 31, *(random.random() for _ in range(100))]
    one_by_one, at_once = CollectorRegistry(), CollectorRegistry()
    # Of different names: where metrics are kept in files, one name has one value in the process.
    single = Histogram("one_by_one", "S", ("of",), buckets=BOUNDS, registry=one_by_one)
    for amount in amounts:
        single.labels("a").observe(amount)
    batch = BatchHistogram("at_once", "S", ("of",), buckets=BOUNDS, registry=at_once)
    batch.labels("a").observe_all(amounts[:50])
    batch.labels("a").observe_all(amounts[50:])
    batch.labels("a").observe_all([])
    counts = [line for line in exposed(at_once) if "_sum" not in line]
    assert counts == [line for line in exposed(one_by_one) if "_sum" not in line]
    sums = [
        float(line.rpartition(" ")[2])
        for registry in (one_by_one, at_once)
        for line in exposed(registry)
        if "_sum{" in line
    ]
    assert abs(sums[0] - sums[1]) < 1e-9
