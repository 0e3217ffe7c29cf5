"""What a killed worker leaves."""

from pathlib import Path

from tests.servers.processes import Processes


def test_a_killed_worker_leaves_no_folder_for_what_its_processes_share(
    processes: Processes, tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    # Not forked from a process that has chosen its folder already.
    own = Processes({**processes.env, "TMPDIR": str(folder)}, tmp_path, forks=False)
    worker = own.worker("-c", "1")
    worker.kill()
    own.end_all()
    assert not [*folder.glob("pymp-*")]
