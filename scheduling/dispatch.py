"""Publishes the fires that the database keeps."""

from collections.abc import Sequence

from celery import Celery
from django.db import connection

from scheduling import conditions, ledger, publishing, quarantine
from scheduling.alarm import TookTooLong
from scheduling.message_rows import message_of
from scheduling.messages import Message
from scheduling.models import Fire, FireStatus, Guarantee


def publish(app: Celery, fires: Sequence[Fire]) -> None:
    """Publish claimed fires and record that they were; see ``publishing``."""
    publishing.publish(app, Book(), fires)


class Book:
    """What publishing wants of the database."""

    def is_wanted(self, fire: Fire) -> bool:
        schedule = fire.schedule
        try:
            return conditions.holds(schedule.condition, schedule.periodic_task, fire.scheduled_for)
        except TookTooLong:
            connection.close()  # it may have been broken off within a query
            raise

    def message_of(self, app: Celery, fire: Fire) -> Message:
        return message_of(app, fire)

    def is_at_most_once(self, fire: Fire) -> bool:
        return fire.schedule.guarantee == Guarantee.AT_MOST_ONCE

    def mark(self, fire: Fire) -> bool:
        is_marked = bool(ledger.mark_dispatched([fire]))
        fire.publishes += is_marked
        return is_marked

    def mark_dispatched(self, fires: Sequence[Fire]) -> int:
        return ledger.mark_dispatched(fires)

    def skip(self, fire: Fire) -> None:
        ledger.finish([fire], FireStatus.SKIPPED_CONDITION)

    def done(self, fire: Fire) -> None:
        ledger.finish([fire], FireStatus.SUCCEEDED, dispatched=True)

    def postpone(self, fires: Sequence[Fire], error: BaseException) -> None:
        quarantine.postpone(fires, error)

    def fail(self, fire: Fire, error: BaseException) -> None:
        if conditions.hangs(error, fire.schedule.failed_in_a_row):
            self.refuse(fire, error)
            return
        quarantine.fail(fire.pk, fire.schedule_id, error)

    def refuse(self, fire: Fire, error: BaseException) -> None:
        quarantine.refuse(fire.pk, fire.schedule_id, error)
