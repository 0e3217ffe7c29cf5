"""The reaper: a process that outlives the test run by a moment and clears up behind it.

It reads from a pipe what to clear up. The pipe closes when the run ends in whatever way, kill -9
included; then it stops each process group and removes each folder that is still on its list.
"""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GRACE_SECONDS = 8.0


class Reaper:
    """The run's end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C or kill meant for the run's group spares it
        )

    def guard_process(self, pid: int, stop_signal: signal.Signals = signal.SIGTERM) -> None:
        """Stop this process group at the end; its leader was started in a session of its own."""
        self._tell("process", str(pid), str(int(stop_signal)))

    def release_process(self, pid: int) -> None:
        """Forget a process that has ended: its id may be somebody else's by now."""
        self._tell("released", str(pid))

    def guard_folder(self, folder: Path) -> None:
        """Remove this folder at the end."""
        self._tell("folder", str(folder))

    def close(self) -> None:
        """Have everything cleared up now, and wait for it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _tell(self, *words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\t".join(words) + "\n")
        self._process.stdin.flush()


@functools.cache
def reaper() -> Reaper:
    """This run's reaper, started when it is first needed."""
    started = Reaper()
    atexit.register(started.close)
    return started


def temporary_folder(name: str) -> Path:
    """Make a folder that the reaper removes; other users may pass through, not look around."""
    folder = Path(tempfile.mkdtemp(prefix=f"notifications-{name}-"))
    reaper().guard_folder(folder)
    folder.chmod(0o711)
    return folder


def _group_is_alive(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _clear_up(processes: dict[int, int], folders: list[Path]) -> None:
    for pid, stop_signal in processes.items():
        _signal_group(pid, stop_signal)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(map(_group_is_alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in processes:
        _signal_group(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    processes: dict[int, int] = {}
    folders: list[Path] = []
    for line in sys.stdin:
        match line.rstrip("\n").split("\t"):
            case ["process", pid, stop_signal]:
                processes[int(pid)] = int(stop_signal)
            case ["released", pid]:
                processes.pop(int(pid), None)
            case ["folder", folder]:
                folders.append(Path(folder))
            case _:
                raise ValueError(f"The reaper does not understand {line!r}")
    _clear_up(processes, folders)


if __name__ == "__main__":
    main()
