"""A process with the libraries imported, which forks: programs start in a quarter of the time.

Nothing of ours is imported in it, and no setting is read: what is forked gets the environment, the
arguments, the folder, the streams and the session of a program that was executed, and goes on as
one. The code of what cannot be imported yet is read before, too. Run by ``ForkServer``, with the
number of an inherited socket, over which go lines of JSON.

What is started again and again with one environment (a worker, a scheduler, the web, a command of
Django's) is forked from another such process, itself forked, that has our modules imported and
Django set up in this environment: as what is started does, before anything else.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections import Counter
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
    *("cryptography.fernet", "cryptography.hazmat.primitives.serialization.ssh"),
    *("cryptography.x509", "dj_database_url", "jwt", "throttled", "tzdata"),
    *("granian.cli", "imaplib", "jsonschema_rs", "markdown_it", "phonenumbers", "psycopg"),
    *("smsutil", "smtplib"),
    *("pydantic.dataclasses", "pydantic.fields", "pydantic.json_schema", "pydantic.main"),
    *("pydantic.networks", "pydantic.type_adapter", "pydantic.types"),
    *("rich.console", "rich.traceback", "structlog", "uuid_utils"),
)


# What is read only as the program runs, not as it is imported and set up.
READ_LATER = frozenset({"GRANIAN_PORT", "PYTEST_CURRENT_TEST", "SCHEDULING_TEST_RUNS"})
APPS = frozenset({"config", "tests.integration.scheduling.jobs_app"})
SETS_UP_FIRST = re.compile(r"\s*(import [\w, ]+[;\n]\s*)+django\.setup\(\)")
OFTEN = 3  # starts in one environment, from which on they are prepared
MOST_PREPARED = 8


class ForkedProcess:
    """A forked program, like ``subprocess.Popen``."""

    def __init__(self, forks: "_Channel", pid: int) -> None:
        self.pid = pid
        self._forks = forks

    def poll(self) -> int | None:
        """Return how it ended, None while it runs."""
        return self._forks.code_of(self.pid)

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


class _Channel:
    """The tests' end of the socket of a process that forks."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._begun = b""
        self._codes: dict[int, int | None] = {}

    def send(self, line: Any) -> None:
        self._socket.sendall(json.dumps(line).encode() + b"\n")

    def start(self, asked: dict[str, Any]) -> ForkedProcess:
        """Have it fork what is asked."""
        self.send(asked)
        while True:
            for answer in self.receive():
                if "pid" in answer:
                    return ForkedProcess(self, answer["pid"])

    def code_of(self, pid: int) -> int | None:
        """Return how a process ended, None while it runs."""
        while self._codes.get(pid) is None and select.select([self._socket], [], [], 0)[0]:
            self.receive()
        return self._codes.get(pid)

    def is_idle(self) -> bool:
        """Return whether nothing that it forked runs any more."""
        return all(self.code_of(pid) is not None for pid in [*self._codes])

    def close(self) -> None:
        """Let it end."""
        self._socket.close()

    def receive(self) -> list[dict[str, int]]:
        """Wait for lines, and note whose end they tell."""
        received = self._socket.recv(65536)
        if not received:
            raise RuntimeError("The process that forks has ended.")
        *whole, self._begun = (self._begun + received).split(b"\n")
        answers = [json.loads(line) for line in whole]
        for one in answers:  # in order: a process may have ended when it is told that it began
            if "pid" in one:
                self._codes[one["pid"]] = None  # whatever became of a process before it
            if "ended" in one:
                self._codes[one["ended"]] = one["code"]
        return answers


Key = tuple[str, frozenset[tuple[str, str]]]


class ForkServer:
    """The tests' end. Not for several threads."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._first = _Channel(ours)
        self._starts: Counter[Key] = Counter()
        self._prepared: dict[Key, _Channel] = {}
        plain = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        with theirs:
            number = theirs.fileno()
            # -P: this folder's names are those of libraries.
            command = [sys.executable, "-P", __file__, str(number)]
            self._process = subprocess.Popen(
                command, env=plain, pass_fds=[number], start_new_session=True
            )
        self._first.send(_files_of_modules())
        self._first.receive()  # that it has read them: only then may it be sent more

    def start(
        self, argv: list[str], env: Mapping[str, str], log: Path, errors: Path | None = None
    ) -> ForkedProcess:
        """Start ``[a script, "-m" and a module, or "-c" and code; arguments…]``.

        What it says is written to ``log``, its errors too, unless ``errors`` is given.
        """
        log.touch()
        asked = {"argv": argv, "env": dict(env), "log": str(log), "errors": str(errors or log)}
        return self._for(asked).start(asked)

    def _for(self, asked: dict[str, Any]) -> _Channel:
        role = _role(asked["argv"])
        if role is None or asked["errors"] != asked["log"]:
            return self._first
        key = (role, frozenset((k, v) for k, v in asked["env"].items() if k not in READ_LATER))
        self._starts[key] += 1
        if key not in self._prepared and self._starts[key] >= OFTEN and self._has_room():
            self._prepared[key] = self._prepare(role, asked)
        return self._prepared.get(key, self._first)

    def _has_room(self) -> bool:
        """End one that is prepared and idle, if there are many."""
        if len(self._prepared) < MOST_PREPARED:
            return True
        idle = next((key for key, channel in self._prepared.items() if channel.is_idle()), None)
        if idle is None:
            return False
        self._prepared.pop(idle).close()
        return True

    def _prepare(self, role: str, asked: dict[str, Any]) -> _Channel:
        """Have one forked that prepares itself, and return when it has."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
            address, said = f"{folder}/socket", f"{folder}/said"
            listening.bind(address)
            listening.listen()
            prepares = {"prepares": role, "at": address, "log": said, "errors": said}
            process = self._first.start(asked | prepares)
            while not select.select([listening], [], [], 0.1)[0]:
                if process.poll() is not None:
                    raise RuntimeError(f"Nothing can be prepared: {Path(said).read_text()}")
            ours, _ = listening.accept()
            return _Channel(ours)


def _role(argv: list[str]) -> str | None:
    """Return what a program is prepared as, None if it is not."""
    match argv:
        case ["manage.py", _, *_]:
            return "pages"
        case ["-c", code, *_] if SETS_UP_FIRST.match(code):
            return "program"
        case ["-m", "tests.chaos.faults" | "tests.chaos.submitter", *_]:
            return "program"
        case [program, *arguments] if Path(program).name == "granian":
            return "pages" if "config.wsgi:application" in arguments else None
        case [program, "-A", app, ("worker" | "beat") as command, *_] if app in APPS:
            return command if Path(program).name == "celery" else None
        case _:
            return None


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


def _take_on(asked: dict[str, Any]) -> None:
    """Take on the streams, the folder and the environment that a program is executed with."""
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
    more = os.environ.get("PYTHONPATH", "")
    sys.path[:0] = [path for path in more.split(os.pathsep) if path and path not in sys.path]


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
    request, prepared = _serve(channel, requests), None
    if request is not None and "prepares" in request:
        prepared = _Prepared(request)
        channel = socket.socket(socket.AF_UNIX)
        channel.connect(request["at"])
        gc.freeze()
        request = _serve(channel, channel.makefile("r"))
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
