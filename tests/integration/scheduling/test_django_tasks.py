"""``TASKS`` of Django over fires: in the caller's transaction, later, and with results."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.db import transaction
from django.utils.module_loading import import_string
from pytest_django import Settings

from scheduling import failures
from scheduling.clock import database_now
from scheduling.django_tasks import Backend
from scheduling.models import Fire
from tests.integration.scheduling import tasks_of_django as tasks
from tests.pages import examples
from tests.servers.processes import Processes

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks import TaskResultStatus
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
else:
    from django_tasks import TaskResultStatus
    from django_tasks.exceptions import InvalidTaskError as InvalidTask
    from django_tasks.exceptions import TaskResultDoesNotExist

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    path = tmp_path / "runs"
    path.touch()
    return path


@pytest.fixture
def system(processes: Processes, runs: Path) -> Processes:
    """A worker and a scheduler of the ready-made project."""
    processes.env[tasks.RUNS] = str(runs)
    processes.worker("-c", "1").wait_for_output(" ready.")
    processes.beat().wait_for_output("beat: Starting...")
    return processes


def ended(result: Any) -> bool:
    result.refresh()
    return bool(result.is_finished)


def test_a_task_is_run_once_and_its_result_is_kept(
    system: Processes, runs: Path, wait_until: Callable[..., Any]
) -> None:
    with transaction.atomic():
        added = tasks.add.enqueue(2, second=3)
        told = tasks.tell.enqueue("hello")
        elsewhere: Any = tasks.elsewhere.enqueue()
    with transaction.atomic():
        tasks.tell.enqueue("rolled back")
        transaction.set_rollback(True)
    later = tasks.tell.using(run_after=database_now() + timedelta(days=1)).enqueue("tomorrow")
    failed = tasks.fail.enqueue()
    wait_until(lambda: all(map(ended, (added, told, elsewhere, failed))))
    assert (added.status, added.return_value) == (TaskResultStatus.SUCCESSFUL, 5)
    assert (added.args, added.kwargs, added.attempts) == ([2], {"second": 3}, 1)
    assert None not in {added.enqueued_at, added.started_at, added.finished_at}
    assert runs.read_text() == f"hello {told.id} 1\n"
    assert elsewhere.return_value == "in another queue"
    assert failed.status == TaskResultStatus.FAILED
    (error,) = failed.errors
    assert error.exception_class is ValueError
    assert "this task always fails" in error.traceback
    later.refresh()
    assert later.status == TaskResultStatus.READY

    # It is a failed run like that of any job, to be replayed with what it was called with.
    again = failures.replay(Fire.objects.get(pk=failed.id).pk)
    repeated = tasks.fail.get_result(str(again.pk))
    wait_until(lambda: ended(repeated))
    assert repeated.status == TaskResultStatus.FAILED


def test_the_page_for_adopters_names_this_backend() -> None:
    page: dict[str, Any] = {}
    exec(examples("adopting.md", "tasks")[0], page)
    assert import_string(page["TASKS"]["default"]["BACKEND"]) is Backend
    assert isinstance(tasks.add.get_backend(), Backend)


def test_calls_of_one_moment_do_not_displace_each_other() -> None:
    moment = database_now() + timedelta(days=1)
    made = [tasks.add.using(run_after=moment).enqueue(n, 1) for n in range(20)]
    assert Fire.objects.filter(fire_at=moment).count() == len(made)
    assert [tasks.add.get_result(result.id).args for result in made] == [[n, 1] for n in range(20)]


def test_what_is_not_there_and_what_json_does_not_have_is_said() -> None:
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result("no id")
    with pytest.raises(TypeError):
        tasks.tell.enqueue(object())  # type: ignore[arg-type]  # which is what is refused
    with pytest.raises(InvalidTask, match="reports"):
        tasks.add.using(queue_name="reports")
    with pytest.raises(InvalidTask):
        tasks.add.using(priority=5)


def test_checks_name_a_queue_that_celery_lacks_and_a_backend_without_transactions(
    settings: Settings,
) -> None:
    backend = tasks.add.get_backend()
    assert backend.check() == []
    settings.SCHEDULING_BACKEND = "redis"
    backend.queues.add("reports")
    try:
        assert [message.id for message in backend.check()] == ["scheduling.E001", "scheduling.E002"]
    finally:
        backend.queues.discard("reports")
