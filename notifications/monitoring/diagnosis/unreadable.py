"""What to do where a probe itself fails: by what it reads."""

from collections.abc import Callable, Iterable

from notifications.monitoring.diagnosis import broker, delivery, locks, schedules, storage
from notifications.monitoring.diagnosis.finding import Finding

Probe = Callable[[], Iterable[Finding]]

_ELSE = " If nothing there is wrong, the probe has a fault: report it with this place in the code."


def _row(tables: str, cure: str) -> str:
    return f"A row of {tables} has a value that this system never writes. {cure}"


_SCHEDULES = _row(
    "scheduling_schedule or django_celery_beat_periodictask",
    "Correct the schedule in the admin under Schedules; where its page does not open, by SQL.",
)
_SCHEDULERS = _row(
    "scheduling_schedulerprocess", "Delete its rows: each scheduler that lives writes its own."
)
_ACCOUNTS = _row(
    "notifications_provideraccount",
    "Correct the account in the admin under Provider accounts; where its page does not open, by "
    "SQL.",
)
_DATABASE = (
    "The database does not answer this question as PostgreSQL or SQLite do. Check what "
    "DATABASE_URL names, and that our role may read pg_stat_activity and django_migrations."
)
_BROKER = (
    "What answers at BROKER_URL does not answer as a broker does. Check that the address names "
    "Redis or RabbitMQ itself, and not another program or a proxy."
)
_CURES: dict[Probe, str] = {
    storage.settings_errors: "A setting has a value that its check does not foresee: the place "
    "names the check. Correct the setting.",
    storage.folder: "Check that VAR_DIR names a folder of a disk that works.",
    storage.database: _DATABASE,
    storage.migrations: _DATABASE,
    storage.clocks: _DATABASE,
    locks.waits: _DATABASE,
    schedules.schedulers: _SCHEDULERS,
    schedules.hung: _SCHEDULERS,
    schedules.quarantined: _SCHEDULES,
    schedules.overdue: _SCHEDULES,
    schedules.undeclared: _SCHEDULES,
    schedules.runs: _row(
        "scheduling_schedule or scheduling_fire",
        "Correct the schedule in the admin under Schedules; delete a fire by SQL.",
    ),
    schedules.unknown_tasks: _row(
        "scheduling_workerprocess or django_celery_beat_periodictask",
        "Delete those of scheduling_workerprocess, as each worker that lives writes its own; "
        "correct a schedule in the admin under Schedules.",
    ),
    delivery.backlog: _row(
        "notifications_notification",
        "Deliveries and the sweep put such a row in quarantine: see the admin under Quarantine. "
        "If none is there, correct its due_at or scheduled_at by SQL.",
    ),
    delivery.held: _row("notifications_hold", "Release that hold: manage.py release, or by SQL."),
    delivery.quarantine: _row("notifications_quarantinedrow", "Delete that row by SQL."),
    delivery.dead_letters: _row(
        "notifications_faileddelivery or notifications_bulkreplay", "Delete that row by SQL."
    ),
    delivery.schemas: _row(
        "templates_engine_templateversion",
        "Publish a new version of its template: a published one is not changed.",
    ),
    delivery.limits: _row(
        "notifications_ratelimit", "Correct it in the admin under Rate limits, or by SQL."
    ),
    delivery.providers: "A mail server of an account does not speak SMTP, or the account's row "
    "has a value that this system never writes. Check host and port in its secret url, and "
    "correct the account in the admin under Provider accounts.",
    delivery.open_circuits: _ACCOUNTS,
    delivery.disabled_accounts: _ACCOUNTS,
    delivery.public_address: _ACCOUNTS,
    delivery.mail_records: "A name server does not answer with a DNS record, or an account's "
    "sender is not an address. Check the records of its domain, and from in the account's "
    "settings.",
    delivery.mailbox_of_bounces: "What answers at the host of BOUNCE_MAILBOX does not answer as an "
    "IMAP server does. Check host and port.",
    broker.reachable: _BROKER,
    broker.durability: _BROKER,
    broker.workers: "A worker of another version answers Celery's inspection. Compare the "
    "versions of the workers with this one.",
    broker.shared_state_works: "What answers at REDIS_URL does not answer as Redis does. Check the "
    "address.",
}


def cure(probe: Probe) -> str:
    """Return what to do where this probe raised."""
    return (_CURES.get(probe, "") + _ELSE).strip()
