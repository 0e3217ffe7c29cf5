"""Celery's result backend: a send's result is its row, other tasks' results are rows of theirs."""

from typing import Any

import django
from celery import maybe_signature, states
from celery.exceptions import ChordError
from celery.result import GroupResult, allow_join_result
from django.apps import apps
from django.db import IntegrityError, transaction

if not (apps.ready or apps.loading):
    django.setup()  # `celery result` and `celery call` do not

from django_celery_results.backends import DatabaseBackend
from django_celery_results.models import ChordCounter

from notifications import submission
from notifications.canvas import results
from notifications.core.errors import UnsupportedForm
from notifications.core.routing import SEND_TASK


class ResultBackend(DatabaseBackend):  # type: ignore[misc]  # celery has no types
    """django-celery-results, which knows notifications by their ids."""

    def _ensure_not_eager(self) -> None:
        """Warn of nothing: rows hold the results in eager mode, too."""

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        row = results.meta_of(task_id)
        if row is not None:
            return row
        found = dict(super()._get_task_meta_for(task_id))
        if found["status"] == states.PENDING:  # nothing is known of it
            return results.archived_meta_of(task_id) or found
        return found

    def _store_result(  # noqa: PLR0917 -- Celery passes them by position
        self,
        task_id: str,
        result: Any,
        status: str,
        traceback: str | None = None,
        request: Any = None,
        using: str | None = None,
    ) -> Any:
        """Store the result of what has no row of its own; a revoked notification is cancelled."""
        if _may_be_a_send(request) and results.meta_of(task_id) is not None:
            if status == states.REVOKED:
                submission.cancel(results.id_of(task_id))
            return result
        return super()._store_result(task_id, result, status, traceback, request, using)

    def _get_extended_properties(self, request: Any, traceback: str | None) -> dict[str, Any]:
        """Leave out the fields of a send: content stays in rows of notifications."""
        properties: dict[str, Any] = super()._get_extended_properties(request, traceback)
        if _task_of(request) == SEND_TASK:
            properties |= {"task_args": None, "task_kwargs": None}
        return properties

    def apply_chord(self, *args: Any, **options: Any) -> None:
        """Count the parts of a chord's header. Raises ``UnsupportedForm`` if its id is in use."""
        try:
            with transaction.atomic():
                super().apply_chord(*args, **options)
        except IntegrityError:
            raise UnsupportedForm(
                "This chord was frozen with an id under which another use of it still runs.",
                field="chord",
                hint="Make a chord for each use, or don't call freeze().",
            ) from None

    def on_chord_part_return(self, request: Any, state: str, result: Any, **more: Any) -> None:
        """Count a part of a chord's header; the last one calls the body.

        A send's part is counted in the transaction that notes it, so exactly once, and a body
        that cannot be published now undoes it: raises ``kombu.exceptions.OperationalError``.
        """
        if _task_of(request) != SEND_TASK:
            super().on_chord_part_return(request, state, result, **more)
            return
        with transaction.atomic():
            parts = ChordCounter.objects.select_for_update().filter(group_id=request.group).first()
            if parts is None:
                return  # the body was called
            header = parts.group_result(app=self.app)
            if parts.count > 1 or not header.ready():
                parts.count = max(parts.count - 1, 1)
                parts.save(update_fields=["count"])
                return
            parts.delete()
            self._call_body(header, maybe_signature(request.chord, app=self.app))

    def _call_body(self, header: GroupResult, body: Any) -> None:
        with allow_join_result():
            values = header.join(propagate=False)
        try:
            _raise_first_error(header, values)
        except ChordError as error:
            self.chord_error_from_stack(body, error)
        else:
            body.delay(values)


def _task_of(request: Any) -> str:
    return str(getattr(request, "task", None) or "")


def _may_be_a_send(request: Any) -> bool:
    return _task_of(request) in ("", SEND_TASK)


def _raise_first_error(header: GroupResult, values: list[Any]) -> None:
    for part, value in zip(header.results, values, strict=True):
        if (error := _error_in(value)) is not None:
            raise ChordError(f"Dependency {part.id} raised {error!r}")


def _error_in(value: Any) -> BaseException | None:
    if isinstance(value, BaseException):
        return value
    errors = map(_error_in, value) if isinstance(value, list) else ()
    return next((error for error in errors if error is not None), None)
