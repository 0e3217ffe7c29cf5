"""Every benchmark by its name, as ``make bench ONLY=name`` takes it."""

from bench import scheduling
from bench.api import API
from bench.benchmark import Benchmark
from bench.bulk import BULK
from bench.bulkheads import BULKHEADS
from bench.calls import CALLS_BENCHMARK
from bench.email import EMAIL
from bench.growth import GROWTH
from bench.latency import IDLE_LATENCY, URGENT_LATENCY
from bench.single_sends import SINGLE_SENDS
from bench.templates import TEMPLATES

BENCHMARKS: dict[str, Benchmark] = {
    "api": API,
    "bulk": BULK,
    "email": EMAIL,
    "schedule_burst": scheduling.BURST,
    "schedule_change": scheduling.CHANGE,
    "schedule_idle_tick": scheduling.IDLE,
    "bulkheads": BULKHEADS,
    "calls": CALLS_BENCHMARK,
    "growth": GROWTH,
    "idle_latency": IDLE_LATENCY,
    "urgent_latency": URGENT_LATENCY,
    "single_sends": SINGLE_SENDS,
    "templates": TEMPLATES,
}
