"""A process with the libraries imported, which forks: programs start in a quarter of the time.

Nothing of ours is imported in it, and no setting is read: what is forked gets the environment, the
arguments, the folder, the streams and the session of a program that was executed, and goes on as
one. The code of what cannot be imported yet is read before, too. Run by ``tests.servers.forks``,
with the number of an inherited socket, over which go lines of JSON.

A worker, a scheduler, the web or a command of Django's is forked from another such process, itself
forked, that has our modules imported and Django set up in this environment: as what is started
does, before anything else. It stays for what is started in the same environment later.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import time
import types
from collections.abc import Iterable, Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
# Those that are imported by each of our processes, and that neither begin threads nor look at the
# environment; prometheus-client, for one, does.
LIBRARIES = (
    *("celery.apps.beat", "celery.apps.worker", "celery.bin.celery", "celery.concurrency.prefork"),
    *("celery.worker.consumer", "kombu.transport.redis", "redis.asyncio", "redis.sentinel"),
    *("django.core.management", "django.db.backends.postgresql.base", "django.db.models"),
    *("django.forms", "django.http", "django.template", "django.test", "django.urls"),
    *("django.contrib.admin.decorators", "django.contrib.postgres.fields.utils"),
    *("django.db.migrations.utils", "whitenoise.media_types"),
    *("babel.dates", "babel.numbers", "environs", "httpx", "jinja2.sandbox", "jsonschema"),
    *("annotated_types", "cron_descriptor", "cronsim", "crontab", "css_inline", "dateutil.rrule"),
    *("cryptography.fernet", "cryptography.hazmat.primitives.serialization.ssh"),
    *("cryptography.x509", "dj_database_url", "jwt", "throttled", "tzdata"),
    *("granian.cli", "imaplib", "jsonschema_rs", "markdown_it", "phonenumbers", "psycopg"),
    *("smsutil", "smtplib"),
    *("pydantic.dataclasses", "pydantic.fields", "pydantic.json_schema", "pydantic.main"),
    *("pydantic.networks", "pydantic.type_adapter", "pydantic.types"),
    *("rich.console", "rich.traceback", "structlog", "uuid_utils"),
)


def files_of_modules() -> list[str]:
    """Return the files of what this process has imported, but for the tests and what they made."""
    modules = [module for name, module in sys.modules.items() if not name.startswith("tests.")]
    loaders = (getattr(module, "__loader__", None) for module in modules)
    paths = [loader.path for loader in loaders if type(loader) is SourceFileLoader]
    lasting = (str(ROOT), sys.prefix, sys.base_prefix)
    return [path for path in paths if path.startswith(lasting) and Path(path).exists()]


def _loader(path: str) -> SourceFileLoader:
    return SourceFileLoader("", path)


def _state(path: str) -> tuple[int, int]:
    found = Path(path).stat()
    return found.st_mtime_ns, found.st_size


class _KeptCode:
    """The code of modules that cannot be imported yet, read before the fork.

    It is taken by whoever imports one of them, if the file is as it was.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._read = SourceFileLoader.get_code
        self._kept = {path: (_state(path), self._read(_loader(path), "")) for path in paths}

    def install(self) -> None:
        """Have imports take it."""
        kept = self

        def get_code(self: SourceFileLoader, fullname: str) -> types.CodeType | None:
            return kept.code_of(self, fullname)

        SourceFileLoader.get_code = get_code  # type: ignore[assignment,method-assign]

    def code_of(self, loader: SourceFileLoader, name: str) -> types.CodeType | None:
        """Return the code that ``loader`` would return."""
        state, code = self._kept.get(loader.path, (None, None))
        return code if state == _state(loader.path) else self._read(loader, name)


def _serve(channel: socket.socket, requests: IO[str]) -> dict[str, Any] | None:
    """Fork for each request; return it in the fork, and None at the end of all requests."""
    ends, woken = _woken_by_ends()
    while True:
        readable, _, _ = select.select([channel, ends], [], [])
        if ends in readable:
            ends.recv(4096)
            for pid, code in _ended():
                channel.sendall(json.dumps({"ended": pid, "code": code}).encode() + b"\n")
        if channel in readable:
            line = requests.readline()
            if not line:
                return None
            pid = _fork(requests, channel, ends, woken)
            if pid == 0:
                return dict(json.loads(line))
            channel.sendall(json.dumps({"pid": pid}).encode() + b"\n")


def _serve_shims(address: str) -> dict[str, Any]:
    """Fork for each shim that connects; return in the fork what it asks."""
    listening, shims = socket.socket(socket.AF_UNIX), dict[socket.socket, int]()
    listening.bind(f"{address}.new")
    listening.listen()
    Path(f"{address}.new").rename(address)  # who finds it can connect
    ends, woken = _woken_by_ends()
    while True:
        readable, _, _ = select.select([listening, ends, *shims], [], [])
        for shim in shims.keys() & {*readable}:
            _pass_on(shim, shims[shim])
        if ends in readable:
            ends.recv(4096)
            codes = dict(_ended())
            for shim in [shim for shim, pid in shims.items() if pid in codes]:
                with contextlib.suppress(OSError), shim:
                    shim.sendall(str(codes[shims.pop(shim)]).encode())
        if listening in readable:
            shim, _ = listening.accept()
            line, streams = _received(shim)
            pid = _fork(listening, ends, woken, shim, *shims)
            if pid == 0:
                return {**json.loads(line), "streams": streams}
            for stream in streams:
                os.close(stream)
            shims[shim] = pid


def _received(shim: socket.socket) -> tuple[bytes, list[int]]:
    """Return the line that a shim says first, and its three streams."""
    line, streams, _, _ = socket.recv_fds(shim, 1 << 20, 3)
    while not line.endswith(b"\n"):
        line += shim.recv(1 << 20)
    return line, streams


def _pass_on(shim: socket.socket, pid: int) -> None:
    """Pass on the signals that a shim was sent; that it was killed, to the group."""
    with contextlib.suppress(ProcessLookupError):
        try:
            numbers = shim.recv(100)
        except ConnectionResetError:
            numbers = b""
        for number in numbers:
            os.kill(pid, number)
        if not numbers:
            os.killpg(pid, signal.SIGKILL)


def _woken_by_ends() -> tuple[socket.socket, socket.socket]:
    """Return a socket that can be read from when a fork has ended, and its other end."""
    ends, woken = socket.socketpair()
    for end in (ends, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return ends, woken


def _fork(*inherited: socket.socket | IO[str]) -> int:
    """Fork into a session of its own; return 0 there, and else whom signals reach as a group."""
    begun, begin = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in inherited:
            descriptor.close()
        os.close(begun)
        os.close(begin)
        return 0
    os.close(begin)
    os.read(begun, 1)  # until it has closed its end, and so can be sent signals as a group
    os.close(begun)
    return pid


def _ended() -> Iterator[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def _take_on(asked: dict[str, Any]) -> None:
    """Take on the streams, the folder and the environment that a program is executed with."""
    for target, source in enumerate(asked.get("streams") or _to_a_log(asked)):
        os.dup2(source, target)
        os.close(source)
    os.chdir(asked.get("cwd", ROOT))
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    if os.environ.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    more = os.environ.get("PYTHONPATH", "")
    sys.path[:0] = [path for path in more.split(os.pathsep) if path and path not in sys.path]


def _to_a_log(asked: dict[str, Any]) -> tuple[int, int, int]:
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    apart = asked["errors"] != asked["log"]
    errors = os.open(asked["errors"], os.O_WRONLY | os.O_CREAT, 0o666) if apart else os.dup(log)
    return os.open(os.devnull, os.O_RDONLY), log, errors


class _Prepared:
    """What was done before the program is known, in its environment; ``said`` meanwhile."""

    def __init__(self, asked: dict[str, Any]) -> None:
        _take_on(asked)
        before = dict(os.environ)
        sys.path.insert(0, str(ROOT))
        sys.argv = asked["argv"]
        importlib.import_module("config.celery")
        importlib.import_module("django").setup()
        if asked["prepares"] == "pages":
            importlib.import_module("config.urls")
        if threading.active_count() > 1:
            raise RuntimeError(
                f"These threads would not be in what is forked: {threading.enumerate()}"
            )
        sys.stdout.flush()
        sys.stderr.flush()
        self._set = {k: v for k, v in os.environ.items() if before.get(k) != v}
        self._removed = before.keys() - os.environ.keys()
        self._said = Path(asked["log"]).read_bytes()

    def hand_on(self) -> None:
        """Have what is forked, which has taken on its own, begin as if it had done it itself."""
        os.write(1, self._said)
        os.environ.update(self._set)
        for name in self._removed:
            os.environ.pop(name, None)
        time.tzset()


def _become(asked: dict[str, Any], prepared: _Prepared | None) -> None:
    """Take on what a program is given when it is executed, and run it."""
    _take_on(asked)
    if prepared:
        prepared.hand_on()
    first, *arguments = asked["argv"]
    match first:
        case "-m":
            sys.path.insert(0, str(Path.cwd()))
            sys.argv = arguments
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        case "-c":
            sys.path.insert(0, "")
            sys.argv = ["-c", *arguments[1:]]
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(arguments[0], "<string>", "exec"), main.__dict__)
        case script:
            sys.path.insert(0, str(Path(script).resolve().parent))
            sys.argv = [script, *arguments]
            runpy.run_path(str(Path(script).resolve()), run_name="__main__")


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    channel = socket.socket(fileno=int(sys.argv[1]))
    requests = channel.makefile("r")
    imported = {*files_of_modules()}
    _KeptCode(path for path in json.loads(requests.readline()) if path not in imported).install()
    channel.sendall(b"{}\n")
    # What is shared with the forked is not looked through by their garbage collectors.
    gc.freeze()
    request, prepared = _serve(channel, requests), None
    if request is not None and "prepares" in request:
        prepared = _Prepared(request)
        channel = socket.socket(socket.AF_UNIX)
        channel.connect(request["at"])
        gc.freeze()
        request = _serve(channel, channel.makefile("r"))
    elif request is not None and "listens" in request:
        gc.freeze()
        request = _serve_shims(request["listens"])
    if request is not None:
        ended = 0
        try:
            _become(request, prepared)
        except SystemExit as end:
            if not isinstance(end.code, int | None):
                raise
            ended = end.code or 0
        # As Python ends, but that what it shares with others is not copied to be torn down.
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as Python does
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended)
