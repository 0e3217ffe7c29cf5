"""Pytest plugin: has django-celery-beat's own unit tests find our classes in place of its own.

What is left out asserts an inner structure that we replaced; each line has its reason.
"""

import pytest

HEAP = "asserts the heap in memory; the database is the heap, and a tick costs what is due"
SYNC = (
    "asserts that runs are kept in memory and flushed later, which fired one-offs again after a "
    "restart; a claim saves them in its transaction"
)
BROKER = (
    "publishes through its own admin page to a RabbitMQ on localhost; fails with its classes, too"
)

EXCLUDED = {
    "test_DatabaseScheduler::test_sync_not_saves_last_run_at_while_schedule_changed": SYNC,
    "test_DatabaseScheduler::test_sync_saves_last_run_at": SYNC,
    "test_DatabaseScheduler::test_sync_syncs_before_save": SYNC,
    "test_DatabaseScheduler::test_sync_rollback_on_save_error": SYNC,
    "test_DatabaseScheduler::test_heap_size_is_constant": HEAP,
    "test_DatabaseScheduler::test_heap_always_return_the_first_item": HEAP,
    "test_DatabaseScheduler::test_starttime_trigger": HEAP,
    "test_DatabaseScheduler::test_crontab_with_start_time_tick": HEAP,
    "test_modeladmin_PeriodicTaskAdmin::test_run_task": BROKER,
    "test_modeladmin_PeriodicTaskAdmin::test_run_tasks": BROKER,
}


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    # Django must be ready before its models are imported.
    from django_celery_beat import schedulers  # noqa: PLC0415 -- the models are loaded only then

    from scheduling.scheduler import Entry, Scheduler  # noqa: PLC0415 -- the models are loaded only then

    schedulers.DatabaseScheduler = Scheduler
    schedulers.ModelEntry = Entry


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    excluded = [item for item in items if item.nodeid.partition("::")[2] in EXCLUDED]
    config.hook.pytest_deselected(items=excluded)
    items[:] = [item for item in items if item not in excluded]
