"""Every page and action of the admin, for every role: what it may, and what it then does.

Each of the tables (``walk_tables``, which know all of them: ``test_walk_tables.py``) is tried for
real: who may not is refused and changes nothing, whoever may changes something.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client, override_settings
from django.urls import reverse
from django_celery_beat.models import (
    PeriodicTask,
)

from notifications.models import (
    Batch,
    EventRule,
)
from templates_engine.models import TemplateVersion
from tests import roles
from tests.integration.config.walk_rows import furnished
from tests.integration.config.walk_tables import (
    ACTIONS,
    ALL,
    FOR_STAFF,
    LETTERS,
    MODELS,
    PAGES,
    ROW_ACTIONS,
    STAFF,
    label,
    page_of,
    where_of,
)
from tests.page_weight import Scales

pytestmark = pytest.mark.django_db

HEAVIEST = 300_000  # bytes of a page on a first look
FORM = {
    "_form_submitted": "on",
    "reason": "r",
    "recipient": "admin@example.org",
    "go": "1",
    "per_second": "9",
    "since_0": "2026-01-01",
    "since_1": "00:00",
    "until_0": "2026-01-01",
    "until_1": "00:01",
    "pace": "1",
}
NOT_OFFERED = (200, 302, 403)  # the list again, without the action
# Tables that a look alone writes to.
BESIDE = ("django_session", "django_admin_log", "config_auditentry")


@pytest.fixture(autouse=True)
def _no_contexts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # The test client would copy the context of each of a page's hundred templates.
    monkeypatch.setattr("django.test.client.store_rendered_templates", lambda *_, **__: None)


@pytest.fixture(autouse=True)
def _only_the_viewer_and_the_admin_have_pages_drawn(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    # What the others may is told by the answer's status, before its template is rendered.
    params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if params.get("letter", "V") in "AO":
        empty = property(lambda _: "")
        monkeypatch.setattr(
            "django.template.response.SimpleTemplateResponse.rendered_content", empty
        )


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[Any]:
    """Make the rows once, in a transaction that the module's tests share: each undoes its own."""
    given = {
        "OUTBOX": True,
        "NOTIFICATIONS_ARCHIVE_MONTHS": 24,
        "TEST_RECIPIENTS": ["*"],
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",  # a query less a page
    }
    with django_db_blocker.unblock(), override_settings(**given), transaction.atomic():
        yield furnished()
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def people(world: Any) -> dict[Any, Any]:
    """Make a member of staff of each role, and one of none."""
    nobody = User.objects.create_user("nobody", is_staff=True)
    return {"": nobody, **{letter: roles.person(name) for letter, name in LETTERS.items()}}


def writes() -> dict[Any, Any]:
    """Count the rows that this test's transaction has written so far, by table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables"
        )
        return {table: count for table, count in cursor.fetchall() if table not in BESIDE}


class Walker:
    """A browser of one role that tries things, each undone afterwards, and notes what is wrong."""

    def __init__(self, client: Client, letter: str) -> None:
        self.client, self.letter = client, letter
        self.wrong: list[str] = []
        self.written = writes()

    def may(self, who: Any) -> bool:
        return who is STAFF or (bool(self.letter) and self.letter in who)

    def look(self, what: Any, where: Any, who: Any) -> None:
        may = self.may(who)
        status = self.client.get(where).status_code
        if (status in (200, 302)) is not may or (not may and status != 403):
            self.wrong.append(f"looks at {what}: {status}, may: {may}")

    def act(self, what: Any, where: Any, form: Any, who: Any, *, refused: Any = (403,)) -> None:
        may, before = self.may(who), self.written
        with transaction.atomic():
            status = self.client.post(where, form).status_code
            self.written = writes()  # also what is undone now
            changed = [table for table, count in self.written.items() if count != before.get(table)]
            transaction.set_rollback(True)
        if may and (status not in (200, 302) or not changed):
            self.wrong.append(f"may {what}, and nothing came of it: {status}")
        if not may and (status not in refused or changed):
            self.wrong.append(f"may not {what}: {status}, changed: {changed}")


def row_action(name: str) -> Any:
    for model in admin.site._registry:
        prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
        if name.startswith(prefix):
            return model, name.removeprefix(prefix)
    raise LookupError(name)


@pytest.fixture
def walk(client: Client, world: Any, people: dict[Any, Any], letter: Any) -> Iterator[Walker]:
    """A browser of one role."""
    with transaction.atomic():
        client.force_login(people[letter])
        yield Walker(client, letter)
        transaction.set_rollback(True)


each_role = pytest.mark.parametrize("letter", ["", *ALL], ids=["nobody", *roles.NAMES])


@each_role
def test_each_role_sees_and_deletes_the_rows_it_may_and_no_others(
    walk: Walker, world: Any, letter: Any
) -> None:
    rows, _, _ = world
    for model, row in rows.items():
        see, add, _change, delete = MODELS[label(model)]
        walk.look(f"{label(model)} list", page_of(model, "changelist"), see)
        walk.look(f"{label(model)} row", page_of(model, "change", row.pk), see)
        if letter in ("", "V"):  # who may see a row may see its history, and nobody else
            walk.look(f"{label(model)} history", page_of(model, "history", row.pk), see)
        walk.look(f"{label(model)} add", page_of(model, "add"), add)
        gone = page_of(model, "delete", row.pk)
        walk.act(f"delete {label(model)}", gone, {"post": "yes"}, delete)
        many = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
        if model is not TemplateVersion:  # one draft at a time
            where = page_of(model, "changelist")
            walk.act(f"delete many {label(model)}", where, many, delete, refused=NOT_OFFERED)
    assert walk.wrong == []


@each_role
def test_each_role_opens_the_pages_it_may_and_no_others(
    walk: Walker, world: Any, letter: Any
) -> None:
    _, _, addresses = world
    for name, who in PAGES.items():
        walk.look(
            name, where_of(name, addresses.get(name, [])), STAFF if name in FOR_STAFF else who
        )
    assert walk.wrong == []


@each_role
def test_each_role_does_what_it_may_and_nothing_else(walk: Walker, world: Any, letter: Any) -> None:
    rows, others, addresses = world
    for name, who in ROW_ACTIONS.items():
        model, verb = row_action(name)
        row = others.get(verb, rows[model])
        where = reverse(f"admin:{name}", args=addresses.get(name, [row.pk]))
        if verb in ("send_test", "probe"):  # they store nothing; the audit log has it
            assert (walk.client.post(where, FORM).status_code in (200, 302)) is walk.may(who)
            continue
        walk.act(name, where, FORM, who)
    for (named, action), who in ACTIONS.items():
        model = next(row for row in rows if label(row) == named)
        row = others.get(f"{model._meta.model_name}.{action}", others.get(action, rows[model]))
        if model is Batch and action != "resume":
            row = rows[Batch]
        form = {"action": action, "_selected_action": [str(row.pk)], "index": 0}
        where = page_of(model, "changelist")
        walk.act(f"{action} {named}", where, form, who, refused=NOT_OFFERED)
    assert walk.wrong == []


# What a form changes, for models that somebody may change by one.
CHANGES = {
    "auth.group": {"name": "renamed"},
    "notifications.queueweight": {"queue": "email.low", "weight": "9"},
    "notifications.ratelimit": {
        "scope": "recipient",
        "channel": "email",
        "template": "",
        "rate": "9/m",
    },
    "notifications.apikey": {"name": "renamed", "scopes": ["read"]},
    "templates_engine.partial": {"source": "changed"},
    "templates_engine.template": {
        "category": "marketing",
        "versions-TOTAL_FORMS": 0,
        "versions-INITIAL_FORMS": 0,
    },
    "django_celery_beat.intervalschedule": {"every": "78", "period": "seconds"},
}


@pytest.mark.parametrize("letter", list(ALL), ids=roles.NAMES)
def test_each_role_changes_by_forms_what_it_may_and_nothing_else(
    walk: Walker, world: Any, letter: Any
) -> None:
    rows, _, _ = world
    for model, row in rows.items():
        _, _, change, _ = MODELS[label(model)]
        where = page_of(model, "change", row.pk)
        if walk.may(change) and label(model) not in CHANGES:
            continue  # its form is tried in the model's own tests
        walk.act(f"change {label(model)}", where, CHANGES.get(label(model), {"x": "y"}), change)
    assert walk.wrong == []


@pytest.mark.parametrize("letter", ["D"])
def test_no_page_is_heavy_with_all_that_it_loads(walk: Walker, world: Any, letter: Any) -> None:
    rows, _, _ = world
    draft = rows[TemplateVersion].pk
    scales = Scales(walk.client)
    sent = {
        where: scales.weigh(where).sent
        for where in (
            reverse("admin:index"),
            reverse("send"),
            reverse("admin:templates_engine_templateversion_change", args=[draft]),
            reverse("admin:templates_engine_templateversion_preview_page", args=[draft]),
            *(page_of(model, "changelist") for model in rows),
            *(page_of(model, "add") for model in (PeriodicTask, EventRule)),
        )
    }
    heavy = {where: weight for where, weight in sent.items() if weight > HEAVIEST}
    assert not heavy
    assert min(sent.values()) > 20_000  # the styles are among it


def test_nobody_gets_anywhere_without_a_login(client: Client, world: Any) -> None:
    rows, _, addresses = world
    before = writes()
    tried = 0
    for name in {*PAGES, *ROW_ACTIONS} - {"jsi18n"}:
        own = [rows[row_action(name)[0]].pk] if name in ROW_ACTIONS else []
        where = where_of(name, addresses.get(name, own))
        for answer in (client.get(where), client.post(where, FORM)):
            assert answer.status_code == 302, name
            assert "/admin/login/" in answer.headers["Location"], name
            tried += 1
    for model, row in rows.items():
        for where in (page_of(model, "changelist"), page_of(model, "change", row.pk)):
            assert "/admin/login/" in client.post(where, {"post": "yes"}).headers["Location"]
            tried += 1
    assert writes() == before
    assert tried > 100
