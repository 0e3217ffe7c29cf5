"""A process with the libraries imported, which forks: programs start in a quarter of the time.

Nothing of ours is imported in it, and no setting is read: what is forked gets the environment, the
arguments, the folder, the streams and the session of a program that was executed, and goes on as
one. The code of what cannot be imported yet is read before, too. Run by ``ForkServer``, with the
number of an inherited socket, over which go lines of JSON.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterable, Mapping
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
    *("granian.cli", "imaplib", "jsonschema_rs", "markdown_it", "phonenumbers", "psycopg"),
    *("smsutil", "smtplib"),
    *("pydantic.dataclasses", "pydantic.fields", "pydantic.json_schema", "pydantic.main"),
    *("pydantic.networks", "pydantic.type_adapter", "pydantic.types"),
    *("rich.console", "rich.traceback", "structlog", "uuid_utils"),
)


class ForkedProcess:
    """A forked program, like ``subprocess.Popen``."""

    def __init__(self, server: "ForkServer", pid: int) -> None:
        self.pid = pid
        self._server = server

    def poll(self) -> int | None:
        """Return how it ended, None while it runs."""
        return self._server.code_of(self.pid)

    def wait(self, timeout: float) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return code

    def terminate(self) -> None:
        """Send SIGTERM, if it runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


class ForkServer:
    """The tests' end. Not for several threads."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._begun = b""
        self._codes: dict[int, int] = {}
        plain = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        with theirs:
            number = theirs.fileno()
            # -P: this folder's names are those of libraries.
            command = [sys.executable, "-P", __file__, str(number)]
            self._process = subprocess.Popen(
                command, env=plain, pass_fds=[number], start_new_session=True
            )
        self._socket.sendall(json.dumps(_files_of_modules()).encode() + b"\n")
        self._receive()  # that it has read them: only then may it be sent more

    def start(
        self, argv: list[str], env: Mapping[str, str], log: Path, errors: Path | None = None
    ) -> ForkedProcess:
        """Start ``[a script, "-m" and a module, or "-c" and code; arguments…]``.

        What it says is written to ``log``, its errors too, unless ``errors`` is given.
        """
        log.touch()
        asked = {"argv": argv, "env": dict(env), "log": str(log), "errors": str(errors or log)}
        self._socket.sendall(json.dumps(asked).encode() + b"\n")
        while True:
            for answer in self._receive():
                if "pid" in answer:
                    return ForkedProcess(self, answer["pid"])

    def code_of(self, pid: int) -> int | None:
        """Return how a process ended, None while it runs."""
        while pid not in self._codes and select.select([self._socket], [], [], 0)[0]:
            self._receive()
        return self._codes.get(pid)

    def _receive(self) -> list[dict[str, int]]:
        """Wait for lines, and note whose end they tell."""
        received = self._socket.recv(65536)
        if not received:
            raise RuntimeError("The process that forks has ended.")
        *whole, self._begun = (self._begun + received).split(b"\n")
        answers = [json.loads(line) for line in whole]
        for one in answers:  # in order: a process may have ended when it is told that it began
            if "pid" in one:
                self._codes.pop(one["pid"], None)  # of a process before it
            if "ended" in one:
                self._codes[one["ended"]] = one["code"]
        return answers


@functools.cache
def fork_server() -> ForkServer:
    """Return this run's, started when it is first needed."""
    return ForkServer()


def _files_of_modules() -> list[str]:
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
    ends, woken = socket.socketpair()
    for end in (ends, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([channel, ends], [], [])
        if ends in readable:
            ends.recv(4096)
            _tell_of_ends(channel)
        if channel in readable:
            line = requests.readline()
            if not line:
                return None
            begun, begin = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.setsid()
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for inherited in (requests, channel, ends, woken):
                    inherited.close()
                os.close(begun)
                os.close(begin)
                return dict(json.loads(line))
            os.close(begin)
            os.read(begun, 1)  # until it has closed its end, and so can be sent signals as a group
            os.close(begun)
            channel.sendall(json.dumps({"pid": pid}).encode() + b"\n")


def _tell_of_ends(channel: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        answer = {"ended": pid, "code": os.waitstatus_to_exitcode(status)}
        channel.sendall(json.dumps(answer).encode() + b"\n")


def _become(asked: dict[str, Any]) -> None:
    """Take on what a program is given when it is executed, and run it."""
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    apart = asked["errors"] != asked["log"]
    errors = os.open(asked["errors"], os.O_WRONLY | os.O_CREAT, 0o666) if apart else os.dup(log)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (errors, 2)):
        os.dup2(source, target)
        os.close(source)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    if os.environ.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    first, *arguments = asked["argv"]
    more = os.environ.get("PYTHONPATH", "")
    sys.path[:0] = [path for path in more.split(os.pathsep) if path and path not in sys.path]
    match first:
        case "-m":
            sys.path.insert(0, str(ROOT))
            sys.argv = arguments
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        case "-c":
            sys.path.insert(0, "")
            sys.argv = ["-c", *arguments[1:]]
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(arguments[0], "<string>", "exec"), main.__dict__)
        case script:
            sys.path.insert(0, str((ROOT / script).resolve().parent))
            sys.argv = [script, *arguments]
            runpy.run_path(str(ROOT / script), run_name="__main__")


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    channel = socket.socket(fileno=int(sys.argv[1]))
    requests = channel.makefile("r")
    imported = {*_files_of_modules()}
    _KeptCode(path for path in json.loads(requests.readline()) if path not in imported).install()
    channel.sendall(b"{}\n")
    # What is shared with the forked is not looked through by their garbage collectors.
    gc.freeze()
    request = _serve(channel, requests)
    if request is not None:
        ended = 0
        try:
            _become(request)
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
