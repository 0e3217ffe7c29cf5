"""What a project has set for its recipients is read together, and believed for a moment."""

import time
from collections.abc import Callable
from datetime import time as time_of_day
from functools import partial

import pytest

from notifications.core.world import World
from notifications.db import dialect
from notifications.models import Category, DeliveryWindow, Throttle
from notifications.recipients import categories, project_rows, throttles, windows

pytestmark = pytest.mark.django_db

WORLD = World("shop", test=True)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    project_rows.forget()


def _set(world: World = WORLD) -> None:
    """Set one of each, as another process does."""
    Category.objects.create(
        **world.columns,
        name="report",
        title="Reports — täglich",
        default=False,
        channel_defaults={"sms": True},
    )
    DeliveryWindow.objects.create(
        **world.columns,
        category="report",
        begins=time_of_day(8, 30),
        ends=time_of_day(20),
        days=["mon", "sun"],
        holidays=False,
        country="AT",
        spread=7,
        if_late="channel",
        late_channel="sms",
    )
    for period, local_day in ((86_400, True), (7200, False), (60, False)):
        Throttle.objects.create(
            **world.columns,
            category="report",
            channel="sms",
            limit=3,
            period=period,
            local_day=local_day,
            rest="drop",
        )


def test_each_is_read_as_it_was_saved() -> None:
    _set()
    kind = categories.of(WORLD)["report"]
    assert kind == categories.Kind(
        "report",
        "Reports — täglich",
        "",
        required=False,
        default=False,
        channel_defaults={"sms": True},
    )
    window = windows.of(WORLD, kind, "")
    assert window == windows.Window(
        *(
            time_of_day(8, 30),
            time_of_day(20),
            frozenset({0, 6}),
            False,
            "",
            "AT",
            7,
            "channel",
            "sms",
            "",
        )
    )
    limits = throttles.of(WORLD, kind, "sms")
    assert [(limit.limit, limit.period, limit.rest) for limit in limits] == [
        (3, 60, "drop"),
        (3, 7200, "drop"),
        (3, None, "drop"),
    ]
    assert {limit.id for limit in limits} == {*Throttle.objects.values_list("pk", flat=True)}


def test_no_other_world_has_them() -> None:
    _set()
    for other in (World("shop"), World("default", test=True)):
        assert project_rows.of(other) == project_rows.Rows()
        assert categories.of(other) == categories.STANDARD


def test_all_are_read_by_one_statement_that_is_planned_once() -> None:
    _set()
    for _ in range(2):
        project_rows.forget()
        kind = categories.of(WORLD)["report"]
        assert windows.of(WORLD, kind, "")
        assert throttles.of(WORLD, kind, "sms")
    planned = dialect.all_of("SELECT statement FROM pg_prepared_statements", [])
    [text] = [text for (text,) in planned if Category._meta.db_table in text]
    for model in (DeliveryWindow, Throttle):
        assert model._meta.db_table in text


def _after_a_moment(clock: Callable[[], float]) -> float:
    return clock() + project_rows.KEPT_FOR


@pytest.mark.parametrize("room", [categories, windows, throttles])
def test_what_another_process_sets_is_seen_after_a_moment_or_once_forgotten(
    room: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert categories.of(WORLD) == categories.STANDARD
    _set()
    assert categories.of(WORLD) == categories.STANDARD
    room.forget()  # type: ignore[attr-defined]  # each has one
    assert categories.of(WORLD)["report"].title
    DeliveryWindow.objects.update(spread=9)
    Throttle.objects.update(limit=5)
    later = partial(_after_a_moment, time.monotonic)
    monkeypatch.setattr("notifications.recipients.project_rows.time.monotonic", later)
    kind = categories.of(WORLD)["report"]
    window = windows.of(WORLD, kind, "")
    assert window is not None
    assert window.spread == 9
    assert {throttle.limit for throttle in throttles.of(WORLD, kind, "sms")} == {5}
