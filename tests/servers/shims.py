"""A program ``python`` for the shells of tests: what it is told to run is forked.

A shell executes the shim as it would Python, with any arguments, folder, environment and streams.
The shim asks a process with the libraries imported (``tests.servers.forkserver``) to fork, hands it
all of that, passes signals on, and ends as the program ends. Where the shim is killed, the program
is killed, with all that is in its group.
"""

import functools
import sys
from pathlib import Path

from tests.servers.forks import fork_server
from tests.servers.process import wait_until
from tests.servers.reaper import reaper, temporary_folder

SHIM = """\
#!{python} -ISE
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: server.send(bytes([number])))
    asked = dict(argv=sys.argv[1:], env=dict(os.environ), cwd=os.getcwd())
    socket.send_fds(server, [json.dumps(asked).encode() + b"\\n"], [0, 1, 2])
    code = int(server.makefile("rb").read() or 1)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@functools.cache
def python_shim() -> Path:
    """Return this run's program, made when it is first needed."""
    folder = temporary_folder("shims")
    address, program = folder / "socket", folder / "python"
    reaper().guard_process(fork_server().listen(str(address)).pid)
    wait_until(address.exists)
    program.write_text(SHIM.format(python=sys.executable, address=str(address)))
    program.chmod(0o755)
    return program
