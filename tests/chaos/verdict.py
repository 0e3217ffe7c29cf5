"""What a run came to: every accepted id against what the providers were handed."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.world import UNFINISHED, World

UNKNOWN = """SELECT id::text FROM notifications_notification
             WHERE status = 'failed' AND reason = 'outcome_unknown'"""
SENT = "SELECT id::text FROM notifications_notification WHERE status = 'sent'"
FAILED = "SELECT count(*) FROM notifications_notification WHERE status = 'failed'"
LETTERS = "SELECT count(*) FROM notifications_faileddelivery"


@dataclass(frozen=True)
class Verdict:
    """Figures of one run.

    Doubled may be what was in flight when a process, the network or a server was harmed, and only
    if it was to be sent at least once.
    """

    accepted: int
    delivered: int
    lost: int
    stuck: int
    doubled: int
    in_flight_as_a_process_was_harmed: int
    doubled_in_an_outage_alone: int
    doubled_but_not_in_flight: int
    doubled_at_most_once: int
    outcome_unknown: int
    sent_but_not_arrived: int
    without_dead_letter: int

    @property
    def holds(self) -> bool:
        return (
            self.lost == self.stuck == self.doubled_at_most_once == 0
            and self.sent_but_not_arrived == self.without_dead_letter == 0
            and self.doubled_but_not_in_flight == 0
        )


def judge(world: World, accepted_file: Path) -> Verdict:
    """Compare what was accepted with what arrived."""
    accepted = dict(line.split() for line in accepted_file.read_text().splitlines())
    arrived = Counter(world.simulated.read_text().split() if world.simulated.exists() else [])
    for mail in world.smtp.messages:
        found = re.match(r"<([0-9a-f-]{36})@", str(mail.message["Message-ID"]))
        if found:
            arrived[found[1]] += 1
    unknown = world.ids(UNKNOWN)
    twice = {id_ for id_, times in arrived.items() if times > 1}
    lost = world.lost_with_a_process()
    once = {id_ for id_, guarantee in accepted.items() if guarantee == "once"}
    return Verdict(
        accepted=len(accepted),
        delivered=len(accepted.keys() & arrived.keys()),
        # At most once may end as "outcome unknown", which is said aloud: not lost.
        lost=len(accepted.keys() - arrived.keys() - unknown),
        stuck=world.query(UNFINISHED),
        doubled=len(twice),
        in_flight_as_a_process_was_harmed=len(lost),
        doubled_in_an_outage_alone=len((twice - lost) & world.in_outages),
        doubled_but_not_in_flight=len(twice - lost - world.in_outages),
        doubled_at_most_once=len(twice & once),
        outcome_unknown=len(unknown),
        sent_but_not_arrived=len(world.ids(SENT) - arrived.keys()),
        without_dead_letter=world.query(FAILED) - world.query(LETTERS),
    )
