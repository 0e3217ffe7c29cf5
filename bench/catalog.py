"""Every benchmark by its name, as ``make bench ONLY=name`` takes it."""

from bench import (
    attachments,
    audience,
    large,
    redis_scheduling,
    schedule_lateness,
    schedule_processes,
    scheduling,
    slow_rates,
)
from bench.admin_pages import ADMIN_PAGES
from bench.api import API, API_BATCH, API_LATENCY
from bench.benchmark import Benchmark
from bench.bulk import BULK
from bench.bulkheads import BULKHEADS
from bench.calls import CALLS_BENCHMARK
from bench.digests import DIGEST
from bench.email import EMAIL, EMAIL_LIMIT
from bench.growth import GROWTH
from bench.idle import IDLE_PROCESSOR, IDLE_SCHEDULER, IDLE_WEB, IDLE_WORKER, WORKER_START
from bench.latency import IDLE_LATENCY, URGENT_LATENCY
from bench.recipients import RECIPIENT_RULES, RECIPIENTS, WINDOWS_IDLE, WINDOWS_OPENING
from bench.replays import BULK_REPLAY
from bench.retention import RETENTION
from bench.single_sends import SINGLE_SENDS
from bench.smtp_server import SMTP_SERVER
from bench.templates import TEMPLATES
from bench.urgency import URGENCY

BENCHMARKS: dict[str, Benchmark] = {
    "admin_pages": ADMIN_PAGES,
    "api": API,
    "api_p99": API_LATENCY,
    "api_batch": API_BATCH,
    "bulk": BULK,
    "bulk_replay": BULK_REPLAY,
    "audience": audience.PACE,
    "audience_first": audience.FIRST_SENT,
    "audience_memory": audience.MEMORY,
    "digest": DIGEST,
    "email": EMAIL,
    "email_limit": EMAIL_LIMIT,
    "attachments": attachments.PACE,
    "attachment_growth": attachments.GROWTH,
    "smtp_server": SMTP_SERVER,
    "schedule_burst": scheduling.BURST,
    "schedule_all_at_once": scheduling.ALL_AT_ONCE,
    "schedule_change": scheduling.CHANGE,
    "schedule_change_seen": schedule_processes.CHANGE_SEEN,
    "schedule_failover": schedule_processes.FAILOVER,
    "schedule_idle_tick": scheduling.IDLE,
    "schedule_idle_tick_million": scheduling.IDLE_MILLION,
    "schedule_lateness_p50": schedule_lateness.LATENESS_P50,
    "schedule_lateness_p99": schedule_lateness.LATENESS_P99,
    "schedule_memory": schedule_processes.MEMORY,
    "schedule_redis_burst": redis_scheduling.BURST,
    "schedule_redis_idle_tick": redis_scheduling.IDLE,
    "schedule_start": scheduling.START,
    "bulkheads": BULKHEADS,
    "calls": CALLS_BENCHMARK,
    "growth": GROWTH,
    "idle_latency": IDLE_LATENCY,
    "idle_memory_worker": IDLE_WORKER,
    "idle_memory_scheduler": IDLE_SCHEDULER,
    "idle_memory_web": IDLE_WEB,
    "idle_processor": IDLE_PROCESSOR,
    "worker_start": WORKER_START,
    "large_pace": large.LARGE_PACE,
    "large_steadiness": large.LARGE_STEADINESS,
    "large_size": large.LARGE_SIZE,
    "large_memory": large.LARGE_MEMORY,
    "large_pruning": large.LARGE_PRUNING,
    "urgent_latency": URGENT_LATENCY,
    "retention": RETENTION,
    "recipients": RECIPIENTS,
    "recipient_rules": RECIPIENT_RULES,
    "windows_idle": WINDOWS_IDLE,
    "windows_opening": WINDOWS_OPENING,
    "single_sends": SINGLE_SENDS,
    "templates": TEMPLATES,
    "http_slow": slow_rates.HTTP,
    "smtp_slow": slow_rates.SMTP,
    "webhooks_hanging": slow_rates.WEBHOOKS,
    "jobs_beside_campaigns": slow_rates.JOBS,
    **URGENCY,
}
