"""Which scope each operation needs: the whole table, and what a job needs beside it.

An operation that stands in no line keeps the process from starting; so does a line without one.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.operation import Operation

from notifications.api.authentication import Key, key_of
from notifications.api.job_documents import is_of_project, sends, sends_tests
from notifications.api.problems import Problem, missing_scope
from notifications.core.routing import SENDING_TASKS
from notifications.models.api_key import ApiKey

Scope = ApiKey.Scope

OPERATIONS: dict[str, Scope | None] = {
    "create_notification": Scope.SEND,
    "cancel_notification": Scope.SEND,
    "read_notification": Scope.SEND,
    "list_notifications": Scope.READ,
    "get_notification": Scope.READ,
    "create_batch": Scope.SEND,
    "pause_batch": Scope.SEND,
    "resume_batch": Scope.SEND,
    "cancel_batch": Scope.SEND,
    "list_batches": Scope.READ,
    "get_batch": Scope.READ,
    "get_batch_errors": Scope.READ,
    # Those that make or run a job need what the job does, too: see ``JOBS``.
    "create_job": Scope.MANAGE,
    "change_job": Scope.MANAGE,
    "resume_job": Scope.MANAGE,
    "run_job": Scope.MANAGE,
    "backfill_job": Scope.MANAGE,
    "pause_job": Scope.MANAGE,
    "delete_job": Scope.MANAGE,
    "get_job_schema": Scope.READ,
    "list_jobs": Scope.READ,
    "get_job": Scope.READ,
    "list_next_fires": Scope.READ,
    "list_fires": Scope.READ,
    "list_failed_runs": Scope.READ,
    "list_failed_run_causes": Scope.READ,
    "get_failed_run": Scope.READ,
    "replay_failed_runs": Scope.REPLAY,  # and what the jobs do
    "replay_failed_run": Scope.REPLAY,  # and what the job does
    "discard_failed_run": Scope.REPLAY,
    "create_template": Scope.MANAGE,
    "create_version": Scope.MANAGE,
    "publish_version": Scope.MANAGE,
    "roll_back_template": Scope.MANAGE,
    "list_templates": Scope.READ,
    "get_template": Scope.READ,
    "get_version": Scope.READ,
    "preview_template": Scope.READ,
    "list_failed_deliveries": Scope.READ,
    "list_causes": Scope.READ,
    "get_failed_delivery": Scope.READ,
    "get_bulk_replay": Scope.READ,
    "create_bulk_replay": Scope.REPLAY,
    "replay_failed_delivery": Scope.REPLAY,
    "discard_failed_delivery": Scope.REPLAY,
    "discard_failed_deliveries": Scope.REPLAY,
    "create_suppression": Scope.MANAGE,
    "lift_suppression": Scope.MANAGE,
    "list_suppressions": Scope.READ,
    "save_recipient": Scope.MANAGE,
    "import_recipients": Scope.MANAGE,
    "delete_recipient": Scope.MANAGE,
    "list_recipients": Scope.READ,
    "get_recipient": Scope.READ,
    "get_preferences": Scope.READ,
    "set_preferences": Scope.MANAGE,
    "list_consent": Scope.READ,
    "list_windows": Scope.READ,
    "save_window": Scope.MANAGE,
    "change_window": Scope.MANAGE,
    "delete_window": Scope.MANAGE,
    "list_throttles": Scope.READ,
    "save_throttle": Scope.MANAGE,
    "delete_throttle": Scope.MANAGE,
    "list_categories": Scope.READ,
    "save_category": Scope.MANAGE,
    "delete_category": Scope.MANAGE,
    "list_chains": Scope.READ,
    "save_chain": Scope.MANAGE,
    "delete_chain": Scope.MANAGE,
    "start_chain": Scope.SEND,
    "get_chain_run": Scope.READ,
    "cancel_chain_run": Scope.SEND,
    "list_audiences": Scope.READ,
    "save_audience": Scope.MANAGE,
    "get_audience": Scope.READ,
    "delete_audience": Scope.MANAGE,
    "preview_audience": Scope.READ,
    "preview_filter": Scope.READ,
    "create_event": Scope.SEND,
    "list_events": Scope.READ,
    "get_event": Scope.READ,
    # What a rule does is to send: those that make one need that scope, too.
    "create_event_rule": Scope.MANAGE,
    "change_event_rule": Scope.MANAGE,
    "delete_event_rule": Scope.MANAGE,
    "list_event_rules": Scope.READ,
    "get_event_rule": Scope.READ,
    "list_providers": Scope.READ,
    "list_queues": Scope.READ,
    "get_problem": None,  # it only explains
}

JOBS = dict.fromkeys(SENDING_TASKS, Scope.SEND)
"""What a job needs by what it calls. Any other task that is allowed is the deployer's to judge."""


def permit_rule(request: HttpRequest) -> None:
    """Let a key make a rule that sends. Raises ``Problem`` 403."""
    if Scope.SEND not in key_of(request).scopes:
        raise missing_scope(
            f"A rule sends notifications, so the key needs the scope {Scope.SEND.value!r}.",
            Scope.SEND.value,
        )


def guard(api: NinjaAPI) -> None:
    """Have every operation ask for its key. Raises ``LookupError`` if the table is not complete."""
    by_name = {operation.view_func.__name__: operation for operation in _operations(api)}
    wrong = by_name.keys() ^ OPERATIONS.keys()
    if wrong:
        raise LookupError(f"Operations and their table differ in {', '.join(sorted(wrong))}.")
    for name, operation in by_name.items():
        scope = OPERATIONS[name]
        if scope is not None:
            # Both: ninja reads the first when it binds an operation, or copies the second.
            operation.auth_param = key = Key(scope)
            operation.auth_callbacks = [key]


def _operations(api: NinjaAPI) -> Iterator[Operation]:
    for _, router in api._routers:  # noqa: SLF001 -- ninja has no public list of operations
        for view in router.path_operations.values():
            yield from view.operations


def permit_job(request: HttpRequest, definition: Mapping[str, Any]) -> None:
    """Let a key make or run a job. Raises ``Problem`` 403.

    It needs the scope of what the job does, and sends for its own project. What a test key has run
    sends tests, and nothing else.
    """
    key = key_of(request)
    scope = JOBS[definition["handler"]] if sends(definition) else None
    if scope is not None and scope not in key.scopes:
        raise missing_scope(f"A job that sends needs the scope {scope.value!r}.", scope.value)
    if not is_of_project(definition, key.world):
        raise Problem("forbidden", "This job sends for another project.", field="kwargs.project")
    if key.world.test and not sends_tests(definition):
        raise Problem("forbidden", "A test key can only send tests.")
