"""A scheduler for tests: in memory, with a clock that the test moves.

    from scheduling import jobs, testing

    with testing.clock("2026-03-29T00:00Z") as clock:
        jobs.register("import", import_orders, "30 * * * *", timezone="Europe/Berlin")
        fires = clock.advance(hours=3)
        assert [fire.status for fire in fires] == ["succeeded"] * 4  # one right after the gap

What falls due is run at its moment, in this process, in the order of time; a run that fails is
tried again when its wait is over. No Django, no database and no broker is needed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from celery import Celery, current_app
from celery.exceptions import Ignore, Retry

from scheduling import chosen_backend
from scheduling.backends.memory import MemoryBackend
from scheduling.kept.documents import Fire
from scheduling.kept.ticks import Book
from scheduling.publishing import contained

WORKER = "scheduling.testing"
"""The name of the worker in the ledger."""


class Clock:
    """A clock, and the scheduler and worker that live by it."""

    def __init__(self, start: datetime, app: Celery | None = None, *, runs: bool = True) -> None:
        self._now = start
        self._app = app
        self._runs = runs
        self.backend = MemoryBackend(clock=lambda: self._now)

    @property
    def now(self) -> datetime:
        """The time that it shows."""
        return self._now

    def advance(self, **by: float) -> list[Fire]:
        """Move on by a ``timedelta(**by)``; return what became of each fire meanwhile, in order.

        Raises ``ValueError`` for a time that is not to come.
        """
        return self.advance_to(self._now + timedelta(**by))

    def advance_to(self, moment: datetime | str) -> list[Fire]:
        """Move on to a moment, like ``advance``."""
        end = _moment(moment)
        if end < self._now:
            raise ValueError(f"The clock shows {self._now.isoformat()}: it cannot be set back.")
        version = self.backend.store.version
        while (due := self.backend.look().next_due_at) is not None and due <= end:
            self._now = max(self._now, due)
            for fire in self.backend.claim_due(self._now) + self.backend.recover(self._now):
                self._run_fire(fire)
        self._now = end
        return self.backend.store.changed_since(version)

    def fires(self, job: str) -> list[Fire]:
        """Return what became of a job's due times, oldest first. Raises ``UnknownJob``."""
        return self.backend.fires(job, limit=10_000)[::-1]

    def _run_fire(self, fire: Fire) -> None:
        app = self._app or current_app
        book = Book(self.backend, [fire])
        with contained(book, fire, quarantines=False):
            if not (fire.by_hand or book.is_wanted(fire)):
                book.skip(fire)
                return
            message = book.message_of(app, fire)
            if not self._runs:
                self.backend.mark_dispatched([fire])
                return
            task = app.tasks[message.name]
        attempt = self.backend.begin(fire.id, WORKER)
        if attempt is None:
            return
        try:
            task(*message.args, **message.kwargs)
        except Ignore:
            self.backend.leave(fire.id, attempt)
        except Retry as retry:
            wait = retry.when if isinstance(retry.when, int | float) else 0
            self.backend.return_to_queue(fire.id, attempt, timedelta(seconds=wait))
        except Exception as error:  # noqa: BLE001 -- what a run raises is its end
            self.backend.fail(fire.id, attempt, error)
        else:
            self.backend.succeed(fire.id, attempt)


@contextmanager
def clock(
    start: datetime | str, app: Celery | None = None, *, runs: bool = True
) -> Iterator[Clock]:
    """Have ``scheduling.jobs`` use a scheduler in memory whose clock begins at ``start``.

    ``start`` is a moment, or its text in ISO 8601 with an offset. Tasks are those of ``app``, by
    default Celery's current one. Without ``runs`` a fire ends as ``dispatched``, unrun. Raises
    ``ValueError`` for a moment without an offset.
    """
    moved = Clock(_moment(start), app, runs=runs)
    with chosen_backend.using(moved.backend):
        yield moved


def _moment(moment: datetime | str) -> datetime:
    read = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    if read.tzinfo is None:
        raise ValueError(f"{moment} has no UTC offset; add one, e.g. +00:00.")
    return read.astimezone(UTC)
