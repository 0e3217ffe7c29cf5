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


def make() -> None:
    """Make all roles, with the permissions that each migration gives or takes."""
    for migration, function in MADE_BY:
        getattr(import_module(f"config.migrations.{migration}"), function)(apps, None)


def person(role: str) -> User:
    """Make a member of staff with one role."""
    user = User.objects.create_user(role, f"{role}@example.org", password="secret", is_staff=True)
    user.groups.set([Group.objects.get(name=role)])
    return user
