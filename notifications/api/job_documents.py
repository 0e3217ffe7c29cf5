"""A job as the API shows it: its name and its version, and whose it is."""

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from django.db.models.functions import Substr
from django_celery_beat.models import PeriodicTask

from notifications.api.problems import Problem
from notifications.core.routing import SEND_TO_AUDIENCE_TASK, SENDING_TASKS
from notifications.core.world import DEFAULT_PROJECT, World
from scheduling import isolation, job_rows
from scheduling.models import Schedule

RESERVED = ":"  # begins what is kept of ``NAMES``, of a job that is not of the default project
NAMES = ("name", "concurrency_key", "unique_key")
"""What jobs would share by: each world has its own."""


def definition_of(task: PeriodicTask) -> dict[str, Any]:
    """Write the definition of a job down, under the name that it has in its world."""
    return definition_with(task, Schedule.objects.filter(pk=task.pk).first())


def definition_with(task: PeriodicTask, policy: Schedule | None) -> dict[str, Any]:
    """Write it down as ``definition_of`` does, with its policy, if it has one."""
    definition = job_rows.definition_with(task, policy)
    namespace = policy.namespace if policy else ""
    own = {key: name_in(namespace, definition[key]) for key in NAMES if key in definition}
    return {**definition, **own}


def stored_name(world: World, name: str) -> str:
    """Return the name by which a job of a world is kept: no two worlds' names meet."""
    return _prefix(world.namespace) + name


def stored(world: World, definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition as it is kept: its names, and its keys, are the world's own."""
    own = {
        key: stored_name(world, definition[key])
        for key in NAMES
        if isinstance(definition.get(key), str) and definition[key]
    }
    return {**definition, **own}


def name_in(namespace: str, stored: str) -> str:
    """Return the name that a job has in its namespace."""
    return stored.removeprefix(_prefix(namespace))


def bare_name(world: World) -> Substr:
    """Return the name in SQL."""
    return Substr("name", len(_prefix(world.namespace)) + 1)


def _prefix(namespace: str) -> str:
    return f"{RESERVED}{namespace}/" if namespace else ""


def sends(definition: Mapping[str, Any]) -> bool:
    """Return whether a job sends notifications."""
    return definition.get("handler") in SENDING_TASKS


def sends_tests(definition: Mapping[str, Any]) -> bool:
    """Return whether a job sends, and only to the simulator."""
    return sends(definition) and _kwargs(definition).get("test") is True


def audience_of(definition: Mapping[str, Any]) -> str:
    """Return the audience that a job sends to; empty where it sends to none."""
    if definition.get("handler") != SEND_TO_AUDIENCE_TASK:
        return ""
    name = _kwargs(definition).get("audience")
    return name if isinstance(name, str) else ""


def is_of_project(definition: Mapping[str, Any], world: World) -> bool:
    """Return whether a job, should it send, sends for this world's project.

    People in admin, and code, may schedule sends for any.
    """
    named = _kwargs(definition).get("project", DEFAULT_PROJECT)
    return not sends(definition) or named == world.project


def for_world(definition: dict[str, Any], world: World) -> dict[str, Any]:
    """Return a definition whose sends are of this world, unless it names another project."""
    whose = {"project": world.project} if world.project != DEFAULT_PROJECT else {}
    forced = {"test": True} if world.test else {}
    if not sends(definition) or not isinstance(definition.get("kwargs"), dict):
        return definition
    return {**definition, "kwargs": {**whose, **definition["kwargs"], **forced}}


def _kwargs(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    kwargs = definition.get("kwargs")
    return kwargs if isinstance(kwargs, dict) else {}


def read_definition(task: PeriodicTask) -> dict[str, Any]:
    """Write the definition of a job down. Raises ``Problem`` 409 for one that cannot be read."""
    found, faults = isolation.each(
        [task], definition_of, stage="reading a job", key=lambda task: str(task.pk)
    )
    if faults:
        raise unreadable()
    return found[0]


def unreadable() -> Problem:
    """Say that a job's row is broken."""
    hint = "Correct it where it was written, or delete it and make it anew."
    return Problem("conflict", "Its row cannot be read.", hint=hint)


def version_of(definition: dict[str, Any]) -> str:
    """Return the entity tag of a definition: the same for as long as nobody changes the job."""
    text = json.dumps(definition, sort_keys=True)
    return f'"{blake2b(text.encode(), digest_size=12).hexdigest()}"'
