"""Which projects there are: asked for each notification that names one."""

import time

from notifications.core.errors import UnknownProject
from notifications.core.text import shown
from notifications.core.world import DEFAULT_PROJECT, World
from notifications.models import Project

KNOWN_FOR = 60.0  # seconds for which a process believes that a project is there: none ever goes

_known_until: dict[str, float] = {}


def check(name: object) -> str:
    """Return the name of a project that there is. Raises ``UnknownProject``."""
    if isinstance(name, str):
        if name == DEFAULT_PROJECT or _known_until.get(name, 0.0) > time.monotonic():
            return name
        if "\0" not in name and Project.objects.filter(name=name).exists():
            _known_until[name] = time.monotonic() + KNOWN_FOR
            return name
    raise UnknownProject(
        f"There is no project {shown(name)}.",
        field="project",
        hint="manage.py create_project NAME makes one; without a name it is the default.",
    )


def is_namespace(name: str) -> bool:
    """Tell whether templates of this namespace are looked for by any project."""
    world = World.of(name)
    return world.namespace == name and world.project in names()


def names() -> list[str]:
    """Name every project, the default one first."""
    return [DEFAULT_PROJECT, *Project.objects.values_list("name", flat=True)]


def forget() -> None:
    """Look again at the next use."""
    _known_until.clear()
