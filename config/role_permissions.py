"""A step of a migration: roles get permissions on a model whose tables are new."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db.migrations import RunPython


class Given(NamedTuple):
    """Roles that hold the permission ``holds`` get ``verb`` on a model, called ``name`` there."""

    holds: str
    verb: str
    model: str
    name: str


def give(some: Iterable[Given]) -> RunPython:
    """Return the operation that gives these permissions, and takes them back."""
    wanted = tuple(some)

    def let(apps: Any, _: object) -> None:
        for one in wanted:
            for group in _groups(apps, one.holds):
                group.permissions.add(_permission(apps, one))

    def let_not(apps: Any, _: object) -> None:
        for one in wanted:
            for group in _groups(apps, one.holds):
                group.permissions.remove(_permission(apps, one))

    return RunPython(let, let_not)


def _groups(apps: Any, codename: str) -> Any:
    return apps.get_model("auth", "Group").objects.filter(
        permissions__codename=codename, permissions__content_type__app_label="notifications"
    )


def _permission(apps: Any, one: Given) -> Any:
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="notifications", model=one.model
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type,
        codename=f"{one.verb}_{one.model}",
        defaults={"name": f"Can {one.verb} {one.name}"},
    )
    return permission
