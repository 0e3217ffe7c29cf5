"""The roles, made as the migrations make them: tests that commit empty the table of groups."""

from importlib import import_module

from django.apps import apps
from django.contrib.auth.models import Group, Permission, User

NAMES = ("viewer", "author", "operator", "admin")
MADE_BY = (
    ("0001_roles", "make_roles"),
    ("0002_archive_is_seen", "let_see"),
    ("0003_quarantine_is_seen", "let"),
    ("0004_holds_are_seen", "let"),
    ("0005_accounts_and_schedules_are_admins", "take"),
    ("0006_authors_send_tests", "let"),
    ("0007_projects_are_admins", "let"),
    ("0008_audit_log", "let"),
    ("0009_events_are_seen", "let"),
    ("0010_operators_send", "let"),
    ("0011_recipients_are_seen", "let"),
    ("0012_categories_are_seen", "let"),
    ("0013_windows_are_seen", "let"),
)


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
    for migration, function in MADE_BY:
        getattr(import_module(f"config.migrations.{migration}"), function)(apps, None)


def person(role: str) -> User:
    """Make a member of staff with one role."""
    user = User.objects.create_user(role, f"{role}@example.org", password="secret", is_staff=True)
    user.groups.set([Group.objects.get(name=role)])
    return user
