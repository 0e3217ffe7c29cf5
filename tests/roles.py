"""The roles, made as the migrations make them: tests that commit empty the table of groups."""

from importlib import import_module

from django.apps import apps
from django.contrib.auth.models import Group, User

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
)


_permissions: dict[str, list[int]] = {}  # of each role, once they are known


def make() -> None:
    """Make all roles, with the permissions that the migrations give them.

    These run once in a process: it takes them some hundred queries.
    """
    if not _permissions:
        migrate()
        for group in Group.objects.filter(name__in=NAMES):
            _permissions[group.name] = [*group.permissions.values_list("pk", flat=True)]
        return
    for name, permissions in _permissions.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.set(permissions)


def migrate() -> None:
    """Do what each migration does: it gives permissions, or takes them."""
    for migration, function in MADE_BY:
        getattr(import_module(f"config.migrations.{migration}"), function)(apps, None)


def person(role: str) -> User:
    """Make a member of staff with one role."""
    user = User.objects.create_user(role, f"{role}@example.org", password="secret", is_staff=True)
    user.groups.set([Group.objects.get(name=role)])
    return user
