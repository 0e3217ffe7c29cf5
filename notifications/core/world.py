"""Whose a row is: of which project, and whether of its tests.

A row of one world is seen and touched by nobody who acts for another: not its content, not its
idempotency key, not who must not be written to. Queues, accounts and limits are everybody's.
"""

from typing import Any, NamedTuple

DEFAULT_PROJECT = "default"


class World(NamedTuple):
    """A project, live or in test. A test has what its project made for tests, and nothing live."""

    project: str = DEFAULT_PROJECT
    test: bool = False

    @property
    def columns(self) -> dict[str, Any]:
        """The columns by which a row says so."""
        return self._asdict()

    @property
    def namespace(self) -> str:
        """The name of this world for packages that know of no project; empty for the default."""
        if self == LIVE:
            return ""
        return f"{self.project}:test" if self.test else self.project

    @classmethod
    def of(cls, namespace: str) -> "World":
        """Return the world that a namespace names."""
        project, _, test = namespace.partition(":")
        return cls(project or DEFAULT_PROJECT, test == "test")

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where its templates are looked for, in order: a test may use what is live, too."""
        live = World(self.project).namespace
        return (self.namespace, live) if self.test else (live,)


LIVE = World()
