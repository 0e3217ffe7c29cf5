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
        for granted in wanted:
            for group in _groups(apps, granted.holds):
                group.permissions.add(_permission(apps, granted))

    def let_not(apps: Any, _: object) -> None:
        for granted in wanted:
            for group in _groups(apps, granted.holds):
                group.permissions.remove(_permission(apps, granted))

    return RunPython(let, let_not)


def _groups(apps: Any, codename: str) -> Any:
    return apps.get_model("auth", "Group").objects.filter(
        permissions__codename=codename, permissions__content_type__app_label="notifications"
    )


def _permission(apps: Any, granted: Given) -> Any:
    content_type, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(
        app_label="notifications", model=granted.model
    )
    permission, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=content_type,
        codename=f"{granted.verb}_{granted.model}",
        defaults={"name": f"Can {granted.verb} {granted.name}"},
    )
    return permission
