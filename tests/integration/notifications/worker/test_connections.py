"""At a start each client is connected once, and what does not do its work is named in the log."""

from tests.servers.process import free_port
from tests.servers.processes import Processes


def test_a_redis_that_is_away_is_named_at_a_start_and_the_process_goes_on(
    processes: Processes,
) -> None:
    worker = processes.worker("-c", "1", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    worker.wait_for_output("redis_away: it does not answer")
    assert worker.returncode is None
