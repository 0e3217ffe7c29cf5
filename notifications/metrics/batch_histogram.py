"""A histogram that takes in a whole batch at the price of its buckets, not of its values."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from prometheus_client import Histogram


class BatchHistogram(Histogram):
    """A Histogram whose ``observe_all`` writes each bucket once.

    With one process's file per metric, prometheus-client pays a lock and a write for the sum
    and for the bucket of each observed value: 4 µs, twice for each notification.
    """

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe each of these amounts."""
        self._raise_if_not_observable()  # type: ignore[no-untyped-call]
        self._sum.inc(sum(amounts))
        found = Counter(bisect_left(self._upper_bounds, amount) for amount in amounts)
        for bucket, count in found.items():
            self._buckets[bucket].inc(count)
