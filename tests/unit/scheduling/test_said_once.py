"""Of the processes of a worker that meet an outage at one moment, one tells of it."""

import os
import time
from contextlib import suppress

from scheduling.said_once import Telling


def test_one_of_several_that_meet_an_outage_at_one_moment_tells_of_it() -> None:
    telling = Telling()
    telling.share()
    begins_at = time.monotonic() + 0.2
    children = []
    for _ in range(8):
        if not (child := os.fork()):
            with suppress(BaseException):
                time.sleep(max(begins_at - time.monotonic(), 0))
                os._exit(telling.begin())
            os._exit(100)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert sum(codes) == 1
    assert [telling.begin(), telling.end(), telling.end()] == [False, True, False]
    assert telling.begin()


def test_an_outage_whose_teller_was_killed_is_over_for_the_others() -> None:
    telling = Telling()
    telling.share()
    if not (child := os.fork()):
        telling.begin()
        os._exit(0)
    os.waitpid(child, 0)
    assert not telling.begin()
    assert telling.end()
    assert telling.begin()


def test_a_process_that_shares_nothing_tells_of_its_own() -> None:
    assert Telling().begin()
    telling = Telling()
    assert telling.begin()
    telling.forget()
    assert telling.begin()
