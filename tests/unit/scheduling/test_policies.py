"""The policies' decisions as tables."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduling import policies
from scheduling.models import FireStatus, Guarantee, Misfire, Overlap
from scheduling.policies import MisfirePolicy
from scheduling.recurrence import Interval
from scheduling.timetable import Timetable

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
EVERY_MINUTE = Timetable(Interval(timedelta(minutes=1), NOON))


def minutes(*numbers: int) -> list[datetime]:
    return [NOON + timedelta(minutes=number) for number in numbers]


@pytest.mark.parametrize(
    ("policy", "late", "runs", "skips"),
    [
        # (policy, now in minutes after the last answer, due minutes that run, that are skipped)
        (MisfirePolicy(), 0.5, [], []),
        (MisfirePolicy(), 1, [1], []),
        (MisfirePolicy(), 5.5, [5], []),
        (MisfirePolicy(Misfire.LATEST, grace=timedelta(seconds=20)), 5.5, [], [5]),
        (MisfirePolicy(Misfire.LATEST, grace=timedelta(seconds=30)), 5.5, [5], []),
        (MisfirePolicy(Misfire.LATEST, grace=timedelta(minutes=3)), 5.5, [5], []),
        (MisfirePolicy(Misfire.SKIP), 1.2, [1], []),
        (MisfirePolicy(Misfire.SKIP), 5.9, [], [5]),
        (MisfirePolicy(Misfire.SKIP, grace=timedelta(seconds=55)), 5.9, [5], []),
        (MisfirePolicy(Misfire.ALL), 3.5, [1, 2, 3], []),
        (MisfirePolicy(Misfire.ALL, cap=2), 5.5, [4, 5], []),
        (MisfirePolicy(Misfire.ALL, cap=9, grace=timedelta(minutes=2)), 5.5, [4, 5], []),
        (MisfirePolicy(Misfire.ALL, grace=timedelta(seconds=0)), 5.5, [], [5]),
        (MisfirePolicy(Misfire.ALL, cap=3), 60 * 24 * 365, [525598, 525599, 525600], []),
    ],
)
def test_which_due_times_run(
    policy: MisfirePolicy, late: float, runs: list[int], skips: list[int]
) -> None:
    now = NOON + timedelta(minutes=late)
    planned = policies.answer(EVERY_MINUTE, policy, answered_until=NOON, now=now)
    ran = [fire.scheduled_for for fire in planned if fire.status == FireStatus.CLAIMED]
    skipped = [fire.scheduled_for for fire in planned if fire.status != FireStatus.CLAIMED]
    assert (ran, skipped) == (minutes(*runs), minutes(*skips))


def test_a_fire_tells_from_when_on_it_stands_for_missed_ones() -> None:
    now = NOON + timedelta(minutes=5)
    (fire,) = policies.answer(EVERY_MINUTE, MisfirePolicy(), answered_until=NOON, now=now)
    assert fire.missed_since == NOON + timedelta(minutes=1)
    on_time = policies.answer(
        EVERY_MINUTE, MisfirePolicy(), answered_until=NOON, now=NOON + timedelta(minutes=1)
    )
    assert on_time[0].missed_since is None


@pytest.mark.parametrize("share", [0.0, 0.25, 0.999])
def test_jitter_delays_the_fire_but_not_its_due_time(share: float) -> None:
    timetable = Timetable(EVERY_MINUTE.rule, jitter=timedelta(seconds=40), jitter_share=share)
    delay = timedelta(seconds=40) * share
    first = NOON + timedelta(minutes=1)
    just_before = first + delay - timedelta(microseconds=1)
    policy = MisfirePolicy()
    assert policies.answer(timetable, policy, answered_until=NOON, now=just_before) == []
    (fire,) = policies.answer(timetable, policy, answered_until=NOON, now=first + delay)
    assert (fire.scheduled_for, fire.fire_at) == (first, first + delay)


def test_jitter_stays_below_the_time_to_the_next_fire() -> None:
    timetable = Timetable(EVERY_MINUTE.rule, jitter=timedelta(hours=5), jitter_share=0.999)
    assert timetable.delay(NOON) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("policy", "running", "is_one_waiting", "decision"),
    [
        (Overlap.ALLOW, 0, False, "run"),
        (Overlap.ALLOW, 1, False, "run"),
        (Overlap.ALLOW, 1, True, "run"),
        (Overlap.SKIP, 0, False, "run"),
        (Overlap.SKIP, 1, False, "skip"),
        (Overlap.QUEUE, 0, False, "run"),
        (Overlap.QUEUE, 1, False, "wait"),
        (Overlap.QUEUE, 1, True, "skip"),
        (Overlap.QUEUE, 0, True, "skip"),
    ],
)
def test_what_becomes_of_an_overlapping_fire(
    policy: Overlap, running: int, is_one_waiting: bool, decision: str
) -> None:
    assert policies.overlap(policy, running=running, is_one_waiting=is_one_waiting) == decision


def test_so_many_runs_go_on_at_once_as_concurrency_says() -> None:
    decisions = [
        policies.overlap(Overlap.SKIP, running=running, is_one_waiting=False, concurrency=2)
        for running in range(3)
    ]
    assert decisions == ["run", "run", "skip"]


@pytest.mark.parametrize(
    ("guarantee", "attempt", "runs_again"),
    [
        (Guarantee.AT_LEAST_ONCE, 1, True),
        (Guarantee.AT_LEAST_ONCE, policies.MAX_ORPHANED_RUNS, False),
        (Guarantee.AT_MOST_ONCE, 1, False),
    ],
)
def test_whether_an_orphaned_run_is_repeated(
    guarantee: Guarantee, attempt: int, runs_again: bool
) -> None:
    assert policies.runs_again(guarantee, attempt) == runs_again


@pytest.mark.parametrize(
    ("policy", "late", "wanted"),
    [
        (MisfirePolicy(), [180, 120, 60], [False, False, True]),
        (MisfirePolicy(Misfire.SKIP), [180, 120, 60], [False, False, False]),
        (MisfirePolicy(Misfire.SKIP, grace=timedelta(seconds=90)), [120, 60], [False, True]),
        (MisfirePolicy(Misfire.ALL), [180, 120, 60], [True, True, True]),
        (MisfirePolicy(Misfire.ALL, cap=2), [180, 120, 60], [False, True, True]),
    ],
)
def test_what_is_still_published_after_a_broker_outage(
    policy: MisfirePolicy, late: list[int], wanted: list[bool]
) -> None:
    assert policies.wanted([timedelta(seconds=seconds) for seconds in late], policy) == wanted
