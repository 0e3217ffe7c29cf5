"""Schedules and fires in a Redis, for a Celery app without Django and without a database.

    celery -A app beat -S scheduling.backends.redis:Scheduler

Let its append-only file be on. A script claims a job, inserts its fires and advances it in one
step, so any number of schedulers may run.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from celery import current_app

from scheduling import configuration, redis_address
from scheduling.backends import redis_scripts as scripts
from scheduling.backends.beat import BackendScheduler
from scheduling.kept.documents import (
    Fire,
    Job,
    Lease,
    decode_fire,
    decode_job,
    encode,
    unreadable_fire,
    unreadable_job,
)
from scheduling.kept.store import Key, Move, Outlook, Process
from scheduling.kept.ticks import Ticks

Document = TypeVar("Document", Job, Fire)

TAG = "{scheduling}:"
"""All keys begin so: a cluster keeps what has one tag in one slot."""
TIMEOUT = 5.0
"""Seconds that Redis has for an answer."""
END = "\x00"
"""Ends a job's name in an entry of the ledger; no name has it."""
MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DIGITS = 17
"""Of the microseconds of a due time, in an entry of the ledger: enough until the year 5138."""


class RedisStore:
    """A ``Store`` in Redis. Raises ``redis.RedisError`` where Redis does not answer."""

    def __init__(self, url: str, prefix: str = "") -> None:
        self._client = redis_address.read(url).client(
            socket_timeout=TIMEOUT, socket_connect_timeout=1, decode_responses=True
        )
        tag = prefix + TAG
        self._jobs, self._fires = f"{tag}jobs", f"{tag}fires"
        self._due, self._look = f"{tag}due", f"{tag}look"
        self._ledger, self._recent = f"{tag}ledger", f"{tag}recent"
        self._open, self._failed = f"{tag}open", f"{tag}failed"
        self._versions, self._tokens = f"{tag}versions", f"{tag}tokens"
        self._keys = f"{tag}keys"
        self._processes, self._lease = f"{tag}processes", f"{tag}lease:"
        self._documents = (
            *(self._jobs, self._fires, self._due, self._look, self._ledger),
            *(self._recent, self._open, self._failed),
        )
        register = self._client.register_script
        self._commit, self._remove = register(scripts.COMMIT), register(scripts.REMOVE)
        self._drop, self._forget = register(scripts.DROP), register(scripts.FORGET)
        self._acquire, self._renew = register(scripts.ACQUIRE), register(scripts.RENEW)
        self._release = register(scripts.RELEASE)

    def now(self) -> datetime:
        return _at(self._client.time())

    def look(self) -> Outlook:
        with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            for key in (self._due, self._look):
                pipe.zrange(key, 0, 0, withscores=True)
            now, *firsts = pipe.execute()
        scores = [first[0][1] for first in firsts if first]
        return Outlook(_at(now), _moment(min(scores)) if scores else None)

    def job(self, name: str) -> Job | None:
        return next(iter(self.jobs([name])), None)

    def jobs(self, names: Sequence[str]) -> list[Job]:
        texts = self._texts(self._jobs, names)
        return [_read(name, text, decode_job, unreadable_job) for name, text in texts]

    def names(self) -> list[str]:
        names: Any = self._client.hkeys(self._jobs)
        return sorted(names)

    def due_jobs(self, now: datetime, limit: int) -> list[Job]:
        return self.jobs(self._until(self._due, now, limit))

    def fire(self, key: UUID) -> Fire | None:
        return next(iter(self._fires_by([str(key)])), None)

    def due_fires(self, now: datetime, limit: int) -> list[Fire]:
        return self._fires_by(self._until(self._look, now, limit))

    def open_fires(self, job: str) -> list[Fire]:
        start = job + END
        entries: Any = self._client.zrangebylex(self._open, f"[{start}", f"({start}~")
        fires = self._fires_by([entry.removeprefix(start) for entry in entries])
        return [fire for fire in fires if fire.is_open]

    def open_fires_of_key(self, key: str) -> list[Fire]:
        fires = self.open_fires(END + key)
        return [fire for fire in fires if fire.concurrency_key == key]

    def key(self, name: str) -> Key:
        text: Any = self._client.hget(self._keys, name)
        version, _, until = (text or "0 ").partition(" ")
        return Key(name, _moment(int(until)) if until else None, int(version))

    def forget_keys(self, before: datetime) -> None:
        values: Any = self._client.hgetall(self._keys)
        for name, text in values.items():
            until = text.partition(" ")[2]
            if until and int(until) <= _score(before):
                self._forget(keys=[self._keys], args=[name, text])

    def unfinished(self, limit: int) -> list[Fire]:
        keys: Any = self._client.zrange(self._look, 0, limit - 1)
        return self._fires_by(keys)

    def fires_of(self, job: str, limit: int) -> list[Fire]:
        start = job + END
        entries: Any = self._client.zrevrangebylex(
            self._ledger, f"({start}~", f"[{start}", start=0, num=limit
        )
        return self._fires_by([entry.removeprefix(start)[DIGITS:] for entry in entries])

    def failed(self, limit: int) -> list[Fire]:
        keys: Any = self._client.zrevrange(self._failed, 0, limit - 1)
        return self._fires_by(keys)

    def recent(self, since: datetime, limit: int) -> list[Fire]:
        keys: Any = self._client.zrevrangebyscore(
            self._recent, "+inf", _score(since), start=0, num=limit
        )
        return self._fires_by(keys)

    def commit(self, moves: Sequence[Move]) -> list[Move | None]:
        if not moves:
            return []
        arguments: list[str | int] = [len(moves)]
        for move in moves:
            arguments += _arguments(move)
        keys = [*self._documents, self._versions, self._keys]
        versions: Any = self._commit(keys=keys, args=arguments)
        return [_as_stored(move, now) for move, now in zip(moves, versions, strict=True)]

    def remove(self, name: str) -> bool:
        fires = self.fires_of(name, -1)
        entries = [part for fire in fires for part in (str(fire.id), _entry(fire), _group(fire))]
        removed: Any = self._remove(keys=self._documents, args=[name, name + END, *entries])
        return bool(removed)

    def drop_ended(self, before: datetime, limit: int) -> int:
        keys: Any = self._client.zrangebyscore(
            self._recent, "-inf", f"({_score(before)}", start=0, num=limit
        )
        old = [fire for fire in self._fires_by(keys) if not fire.is_open]
        if not old:
            return 0
        entries = [part for fire in old for part in (str(fire.id), _entry(fire))]
        self._drop(keys=[self._fires, self._ledger, self._recent, self._failed], args=entries)
        return len(old)

    def acquire(self, name: str, owner: str, ttl: timedelta) -> int | None:
        keys = [self._lease + name, self._tokens]
        token: Any = self._acquire(keys=keys, args=[ttl // timedelta(milliseconds=1)])
        return int(token) or None

    def renew(self, lease: Lease) -> bool:
        milliseconds = lease.ttl // timedelta(milliseconds=1)
        key = self._lease + lease.name
        return bool(self._renew(keys=[key], args=[lease.token, milliseconds]))

    def release(self, lease: Lease) -> None:
        self._release(keys=[self._lease + lease.name], args=[lease.token])

    def announce(self, process: Process) -> None:
        self._client.hset(self._processes, process.name, _score(process.seen_at))

    def processes(self) -> list[Process]:
        processes: Any = self._client.hgetall(self._processes)
        return [Process(name, _moment(int(seen_at))) for name, seen_at in processes.items()]

    def forget_processes(self, before: datetime) -> None:
        """Forget those that were last seen before then."""
        old = [process.name for process in self.processes() if process.seen_at < before]
        if old:
            self._client.hdel(self._processes, *old)

    def _until(self, key: str, now: datetime, limit: int) -> list[str]:
        ids: Any = self._client.zrangebyscore(key, "-inf", _score(now), start=0, num=limit)
        return list(ids)

    def _fires_by(self, keys: Sequence[str]) -> list[Fire]:
        texts = self._texts(self._fires, keys)
        return [
            _read(key, text, decode_fire, lambda key, *why: unreadable_fire(UUID(key), *why))
            for key, text in texts
        ]

    def _texts(self, key: str, names: Sequence[str]) -> Iterable[tuple[str, str]]:
        if not names:
            return []
        texts: Any = self._client.hmget(key, list(names))
        pairs = zip(names, texts, strict=True)
        return [(name, text) for name, text in pairs if text is not None]


class RedisBackend(Ticks):
    """The scheduler over a Redis at ``url``; ``prefix`` begins all of its keys."""

    def __init__(self, url: str, prefix: str = "") -> None:
        self.store = RedisStore(url, prefix)
        super().__init__(self.store)


class Scheduler(BackendScheduler):
    """The scheduler of ``celery beat -S scheduling.backends.redis:Scheduler``."""

    def make_backend(self) -> RedisBackend:
        """Make the backend that the settings name. Raises ``BadRedisAddress``."""
        return make()


def make() -> RedisBackend:
    """Make the backend that ``SCHEDULING_BACKEND=redis`` names.

    Its Redis is that of ``SCHEDULING_REDIS_URL``, else of ``REDIS_URL``, else the app's broker.
    Raises ``BadRedisAddress``.
    """
    url = configuration.read("SCHEDULING_REDIS_URL", "") or configuration.read("REDIS_URL", "")
    url = url or current_app.conf.broker_read_url or current_app.conf.broker_url or ""
    return RedisBackend(url, configuration.read("REDIS_KEY_PREFIX", ""))


def _arguments(move: Move) -> list[str | int]:
    arguments: list[str | int] = ["none"]
    if (job := move.job) is not None:
        arguments = ["job", job.name, job.version, encode(job), _score(job.next_fire_at)]
    arguments.append(len(move.fires))
    for fire in move.fires:
        failed_at = fire.finished_at if fire.has_failed else None
        arguments += [str(fire.id), fire.version, encode(fire), _entry(fire), fire.job + END]
        arguments.append(_group(fire))
        arguments += [_score(fire.due_at), _score(fire.scheduled_for), _score(failed_at)]
    arguments.append(len(move.keys))
    for key in move.keys:
        arguments += [key.name, key.version, _score(key.taken_until)]
    return arguments


def _as_stored(move: Move, versions: Sequence[int]) -> Move | None:
    """Return a move with the versions that the script gave; 0 is a due time that was taken."""
    if not versions:
        return None
    job_version, *fire_versions = versions
    job = move.job and replace(move.job, version=job_version)
    pairs = zip(move.fires, fire_versions, strict=True)
    return Move(job, [replace(fire, version=version) for fire, version in pairs if version])


def _group(fire: Fire) -> str:
    """Return what a fire has among the open ones of its concurrency key before its id."""
    return f"{END}{fire.concurrency_key}{END}" if fire.concurrency_key else ""


def _entry(fire: Fire) -> str:
    """Return what a due time of a job has in the ledger before the fire's id."""
    return f"{fire.job}{END}{_score(fire.scheduled_for):0{DIGITS}d}"


def _read(
    key: str,
    text: str,
    decode: Callable[[str, int], Document],
    otherwise: Callable[[str, int, datetime, BaseException], Document],
) -> Document:
    """Read a document; one that cannot be read costs itself, and is what ``otherwise`` makes."""
    version, _, document = text.partition(" ")
    try:
        return decode(document, int(version))
    except Exception as error:  # noqa: BLE001 -- the boundary: reading a row is inside it
        digits = re.match("[0-9]*", text, re.ASCII)
        number = int((digits and digits[0]) or 0)  # as the script reads them
        return otherwise(key, number, datetime.now(UTC), error)


def _score(moment: datetime | None) -> Any:
    """Return a moment as the microseconds that a sorted set orders by, exactly."""
    return "" if moment is None else (moment - EPOCH) // MICROSECOND


def _moment(score: float) -> datetime:
    return EPOCH + timedelta(microseconds=int(score))


def _at(time: tuple[int, int]) -> datetime:
    seconds, microseconds = time
    return EPOCH + timedelta(seconds=seconds, microseconds=microseconds)
