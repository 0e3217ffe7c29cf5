"""Pages: nothing twice and nothing missed, while rows arrive and leave."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notifications.models import Notification
from notifications.submission import send
from tests.integration.notifications.api.conftest import SIMULATED, Caller

step = st.fixed_dictionaries(
    {"limit": st.integers(1, 7), "arrive": st.integers(0, 4), "leave": st.integers(0, 2)}
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(there=st.integers(0, 25), steps=st.lists(step, min_size=1, max_size=8))
def test_each_row_is_seen_once_whatever_arrives_or_leaves(
    call: Caller, there: Any, steps: Any
) -> None:
    Notification.objects.all().delete()
    before = {str(send(**SIMULATED).id) for _ in range(there)}
    gone: set[str] = set()
    seen: list[str] = []
    cursor: str | None = ""
    turn = 0
    while cursor is not None:
        change = steps[turn % len(steps)]
        turn += 1
        query = {"limit": change["limit"], **({"cursor": cursor} if cursor else {})}
        page = call.ok("GET", "/notifications", query=query)
        assert len(page["items"]) <= change["limit"]
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        for _ in range(change["arrive"]):
            send(**SIMULATED)
        for id_ in sorted(before - set(seen) - gone)[: change["leave"]]:
            Notification.objects.filter(id=id_).delete()
            gone.add(id_)
    assert len(seen) == len(set(seen))
    assert set(seen) == before - gone
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize("cursor", ["x", "!!", "AAAA", "bm90IGFuIGlk", "é"])
def test_a_cursor_that_nobody_gave_out_is_refused(call: Caller, cursor: str) -> None:
    response = call("GET", "/notifications", query={"cursor": cursor})
    assert response.status_code == 422
    assert response.json()["field"] == "cursor"


@pytest.mark.parametrize("limit", ["0", "501", "-1", "many"])
def test_a_page_has_a_sensible_size(call: Caller, limit: str) -> None:
    assert call("GET", "/notifications", query={"limit": limit}).status_code == 422
