"""The roles, made as the migrations make them: tests that commit empty the table of groups."""

from importlib import import_module
from pathlib import Path
from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission, User

from config import migrations

NAMES = ("viewer", "author", "operator", "admin")
MIGRATIONS = sorted(path.stem for path in Path(migrations.__file__).parent.glob("[0-9]*.py"))

_permissions: dict[str, set[tuple[str, str, str]]] = {}  # of each role, once they are known


def make() -> None:
    """Make all roles, with the permissions that the migrations give them.

    These run once in a process, or where permissions are missing: it takes them some hundred
    queries.
    """
    found = Permission.objects.select_related("content_type")
    ids = {permission.natural_key(): permission.pk for permission in found}
    if not _permissions or not ids.keys() >= set.union(*_permissions.values()):
        migrate()
        for group in Group.objects.filter(name__in=NAMES):
            given = group.permissions.select_related("content_type")
            _permissions[group.name] = {permission.natural_key() for permission in given}
        return
    for name, keys in _permissions.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.set([ids[key] for key in keys])


def migrate() -> None:
    """Do what each migration does: it gives permissions, or takes them."""
    for name in MIGRATIONS:
        # The last step: the audit log's migration also makes a trigger, which stays.
        step: Any = import_module(f"config.migrations.{name}").Migration.operations[-1]
        step.code(apps, None)


def person(role: str) -> User:
    """Make a member of staff with one role."""
    user = User.objects.create_user(role, f"{role}@example.org", password="secret", is_staff=True)
    user.groups.set([Group.objects.get(name=role)])
    return user
