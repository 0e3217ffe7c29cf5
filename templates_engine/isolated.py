"""Builds and renders drafts in a process of its own, so that an author can't harm the web process.

The engine bounds what a template may do; this bounds what the engine itself may take, parser and
compiler included. The child gets the draft on its standard input, and none of our environment.
"""

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from templates_engine import errors
from templates_engine.building import Build, Draft, build, compiled_version
from templates_engine.composition import check_partial
from templates_engine.errors import InvalidTemplate, RenderLimitExceeded, TemplateError
from templates_engine.parts import Content

CPU_SECONDS = 5
WALL_SECONDS = 20
MEMORY_BYTES = 1 << 30
# At once, per web process: the machine has other work.
_slots = threading.BoundedSemaphore(2)


def build_isolated(draft: Draft) -> Build:
    """Build a draft.

    Raises: InvalidTemplate, also when it takes too long.
    """
    answer = _asked({"draft": asdict(draft)})
    if answer is None:
        raise InvalidTemplate(f"It takes more than {CPU_SECONDS} s, or too much memory, to check.")
    return Build(**answer)


def render_isolated(draft: Draft, context: Mapping[str, Any], locale: str | None) -> Content:
    """Build a draft without its sample, and render it with a context.

    Raises: InvalidTemplate, MissingVariables, InvalidContext, RenderError.
    """
    request = {"draft": asdict(draft), "context": dict(context), "locale": locale}
    content: Content | None = _asked(request)
    if content is None:
        raise RenderLimitExceeded(f"It takes more than {CPU_SECONDS} s, or too much memory.")
    return content


def check_partial_isolated(name: str, source: str, others: Mapping[str, str]) -> None:
    """Check a layout or partial, as ``composition.check_partial`` does.

    Raises: InvalidTemplate.
    """
    answer = _asked({"partial": [name, source, dict(others)]})
    if answer is None:
        raise InvalidTemplate(f"It takes more than {CPU_SECONDS} s, or too much memory, to check.")


def child_environment() -> dict[str, str]:
    """Return what a child gets of our environment: where to find code, and no secret."""
    return {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"}


def _asked(request: dict[str, Any]) -> Any:
    """Ask a child; None when it was stopped."""
    with _slots:
        try:
            child = subprocess.run(
                [sys.executable, "-m", "templates_engine.isolated"],
                input=json.dumps(request).encode(),
                capture_output=True,
                timeout=WALL_SECONDS,
                check=False,
                env=child_environment(),
            )
        except subprocess.TimeoutExpired:
            return None
    if child.returncode != 0:
        return None
    answer = json.loads(child.stdout)
    if "error" in answer:
        raise _error_from(**answer["error"])
    return answer["result"]


def _error_from(kind: str, message: str, attributes: dict[str, Any]) -> TemplateError:
    error_type: type[TemplateError] = getattr(errors, kind)
    error = error_type.__new__(error_type, message)
    error.__dict__.update(attributes)
    return error


def _answer(request: dict[str, Any]) -> Any:
    if "partial" in request:
        check_partial(*request["partial"])
        return {}
    draft = Draft(**request["draft"])
    if "context" not in request:
        return asdict(build(draft))
    version = compiled_version(draft, build(Draft(**{**request["draft"], "sample_context": {}})))
    version.check(request["context"])
    return version.render(request["context"], request["locale"], version.sample_links)


def _main() -> None:
    for limit, value in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    try:
        answer = {"result": _answer(json.load(sys.stdin))}
    except TemplateError as error:
        kind, message = type(error).__name__, str(error.args[0])
        answer = {"error": {"kind": kind, "message": message, "attributes": error.__dict__}}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    _main()
