"""Every page and action of the admin, for every role: what it may, and what it then does.

The pages come from the URLs and the actions from the admin classes, so that one which the tables
below do not know fails here. Each is tried for real: who may not is refused and changes nothing,
whoever may changes something. V, A, O and D are the viewer, the author, the operator and the admin.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import get_resolver, path, reverse
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from django_celery_results.models import GroupResult, TaskResult

from config.admin_site import ADMIN_SITE
from config.audit import log
from config.models import AuditEntry
from notifications.admin.urls import urlpatterns
from notifications.gateways.govuk import urls as govuk
from notifications.maintenance import archive
from notifications.models import (
    ApiKey,
    ArchivedNotification,
    Audience,
    Batch,
    BulkReplay,
    Category,
    Chain,
    ChainRun,
    DeliveryWindow,
    Event,
    EventRule,
    FailedDelivery,
    Hold,
    Notification,
    OutboxMessage,
    Project,
    ProviderAccount,
    QuarantinedRow,
    QueueWeight,
    RateLimit,
    Recipient,
    Suppression,
    Throttle,
)
from notifications.operations import api_keys
from notifications.submission import send
from scheduling.models import Fire, FireStatus, Schedule
from templates_engine.models import Partial, Template, TemplateVersion
from templates_engine.publishing import create_version, publish
from tests import roles
from tests.page_weight import Scales

pytestmark = pytest.mark.django_db

LETTERS = dict(zip("VAOD", roles.NAMES, strict=True))
ALL = "VAOD"
HEAVIEST = 300_000  # bytes of a page on a first look
STAFF = object()  # whoever may log in, of no role, too

# Who may see, add, change and delete rows by forms.
MODELS = {
    "auth.group": ("D", "D", "D", "D"),
    "auth.user": ("D", "D", "D", "D"),
    "config.auditentry": ("D", "", "", ""),
    "django_celery_beat.clockedschedule": (ALL, "D", "D", "D"),
    "django_celery_beat.crontabschedule": (ALL, "D", "D", "D"),
    "django_celery_beat.intervalschedule": (ALL, "D", "D", "D"),
    "django_celery_beat.periodictask": (ALL, "D", "D", "D"),
    "django_celery_beat.solarschedule": (ALL, "D", "D", "D"),
    "django_celery_results.groupresult": (ALL, "", "", ""),
    "django_celery_results.taskresult": (ALL, "", "", ""),
    "notifications.apikey": ("D", "D", "D", ""),
    "notifications.archivednotification": (ALL, "", "", ""),
    "notifications.audience": (ALL, "OD", "OD", "OD"),
    "notifications.batch": (ALL, "", "", ""),
    "notifications.bulkreplay": (ALL, "", "", ""),
    "notifications.category": (ALL, "D", "D", "D"),
    "notifications.chain": (ALL, "D", "D", "D"),
    "notifications.chainrun": (ALL, "", "", ""),
    "notifications.deliverywindow": (ALL, "D", "D", "D"),
    "notifications.event": (ALL, "", "", ""),
    "notifications.eventrule": (ALL, "D", "D", "D"),
    "notifications.faileddelivery": (ALL, "", "", ""),
    "notifications.hold": (ALL, "OD", "", ""),
    "notifications.notification": (ALL, "", "", ""),
    "notifications.project": ("D", "D", "D", ""),
    "notifications.provideraccount": (ALL, "D", "D", "D"),
    "notifications.quarantinedrow": (ALL, "", "", ""),
    "notifications.queueweight": (ALL, "OD", "OD", "OD"),
    "notifications.ratelimit": (ALL, "D", "D", "D"),
    "notifications.recipient": (ALL, "OD", "OD", "OD"),
    "notifications.suppression": (ALL, "OD", "", ""),
    "notifications.throttle": (ALL, "D", "D", "D"),
    "scheduling.fire": (ALL, "", "", ""),
    "templates_engine.partial": (ALL, "AD", "AD", "AD"),
    "templates_engine.template": (ALL, "AD", "AD", ""),
    "templates_engine.templateversion": (ALL, "", "AD", "AD"),
}

# Pages that are read.
PAGES = {
    "index": ALL,
    "search": ALL,
    "password_change": ALL,
    "password_change_done": ALL,
    "jsi18n": ALL,
    "auth_user_password_change": "D",
    "config_auditentry_export": "D",
    "django_celery_beat_periodictask_outlook": ALL,
    "django_celery_beat_periodictask_calendars": ALL,
    "notifications_template_variables": ALL,
    "notifications_faileddelivery_causes": ALL,
    "templates_engine_templateversion_preview_page": ALL,
    "templates_engine_templateversion_preview": ALL,
    "templates_engine_templateversion_compare_page": ALL,
    "templates_engine_templateversion_compare": ALL,
    "dashboard-live": ALL,
    "dashboard-stream": ALL,
    "find": ALL,
    "notifications_batch_progress": ALL,
    "send": "OD",
    "send-sheet": "OD",
    "outbox": "OD",
    "outbox-message": "OD",
    "batch-errors": ALL,
    "personal-data": "D",
}
# Pages that show nothing of anybody, which every member of staff may open.
FOR_STAFF = {
    *("index", "search", "password_change", "password_change_done", "jsi18n"),
    *("dashboard-live", "dashboard-stream"),
}
# Pages that every visitor may open, and those that only lead on.
OPEN = {"login", "logout", "autocomplete", "view_on_site", "app_list"}

# Actions of a row's page.
ROW_ACTIONS = {
    "django_celery_beat_periodictask_pause": "OD",
    "django_celery_beat_periodictask_resume": "OD",
    "django_celery_beat_periodictask_run": "OD",
    "django_celery_beat_periodictask_backfill": "OD",
    "django_celery_beat_periodictask_duplicate": "D",
    "notifications_faileddelivery_replay_cause": "OD",
    "notifications_faileddelivery_discard_cause": "OD",
    "notifications_faileddelivery_replay": "OD",
    "notifications_faileddelivery_discard": "OD",
    "notifications_notification_cancel": "OD",
    "notifications_notification_resend": "OD",
    "notifications_notification_suppress": "OD",
    "notifications_batch_pause_it": "OD",
    "notifications_batch_resume_it": "OD",
    "notifications_batch_cancel_it": "OD",
    "notifications_provideraccount_send_test": "D",
    "notifications_provideraccount_probe": "OD",
    "notifications_provideraccount_hold": "OD",
    "notifications_provideraccount_release_account": "OD",
    "templates_engine_template_new_version": "AD",
    "templates_engine_template_withdraw": "AD",
    "templates_engine_templateversion_ask": "AD",
    "templates_engine_templateversion_publish": "AD",
    "templates_engine_templateversion_roll_back": "AD",
}

# Actions on chosen rows of a list.
ACTIONS = {
    ("django_celery_beat.periodictask", "pause_selected"): "OD",
    ("django_celery_beat.periodictask", "resume_selected"): "OD",
    ("django_celery_beat.periodictask", "run_selected"): "OD",
    ("notifications.apikey", "rotate"): "D",
    ("notifications.apikey", "revoke"): "D",
    ("notifications.batch", "pause"): "OD",
    ("notifications.batch", "resume"): "OD",
    ("notifications.batch", "cancel"): "OD",
    ("notifications.faileddelivery", "replay_selected"): "OD",
    ("notifications.hold", "release"): "OD",
    ("notifications.notification", "cancel_selected"): "OD",
    ("notifications.notification", "resend_selected"): "OD",
    ("notifications.quarantinedrow", "release"): "OD",
    ("notifications.suppression", "lift"): "OD",
    ("scheduling.fire", "replay_selected"): "OD",
    ("scheduling.fire", "replay_causes"): "OD",
    ("scheduling.fire", "discard_selected"): "OD",
}

BESIDE_ADMIN = {name for url in urlpatterns if (name := getattr(url, "name", None))}
# Django's own: the way to a row's form, and what answers for an address that there is not.
NAMELESS = ("<path:object_id>/", "(?P<url>.*)$")
STANDARD = ("changelist", "add", "history", "delete", "change")
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
# Addresses that ask for no login: see docs/security.md, and the tests that it names.
ELSEWHERE = {
    *("", "api/v1/", "metrics", "webhooks/<str:name>", "unsubscribe/<str:token>"),
    *("preferences/<str:token>", "opened/<str:token>.gif"),
    *("healthz/live", "healthz/ready", "favicon.ico"),
    *(f"v2/{address.pattern}" for address in govuk.urlpatterns),  # test_govuk.py walks these
}
NOT_OFFERED = (200, 302, 403)  # the list again, without the action
# Tables that a look alone writes to.
BESIDE = ("django_session", "django_admin_log", "config_auditentry")


def label(model: Any) -> Any:
    return model._meta.label_lower


def page_of(model: Any, verb: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{verb}", args=args)


def where_of(name: str, args: Any) -> str:
    return reverse(name if name in BESIDE_ADMIN else f"admin:{name}", args=args)


def elsewhere(resolver: Any, before: str = "") -> Iterator[str]:
    """Name every address beside the admin's and the APIs'."""
    for one in resolver.url_patterns:
        address = f"{before}{one.pattern}"
        if hasattr(one, "url_patterns"):
            yield from () if address in ("admin/", "api/v1/") else elsewhere(one, address)
        elif getattr(one, "name", None) not in BESIDE_ADMIN:
            yield address


def named_pages() -> Iterator[str]:
    """Name every URL of the admin, and of the pages beside it that want a login."""
    for model, page in admin.site._registry.items():
        prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
        for name in names(page.get_urls()):
            if name.removeprefix(prefix) not in STANDARD:
                yield name
    of_models = {str(url.pattern) for url in admin.site.get_urls() if hasattr(url, "url_patterns")}
    assert of_models == {
        f"{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry
    }
    yield from names(url for url in admin.site.get_urls() if not hasattr(url, "url_patterns"))
    yield from BESIDE_ADMIN


def names(urls: Iterable[Any]) -> Iterator[str]:
    """Name these URLs, and those that they lead to; by its pattern what has no name."""
    for url in urls:
        if hasattr(url, "url_patterns"):
            yield from names(url.url_patterns)
        elif url.name or str(url.pattern) not in NAMELESS:
            yield url.name or str(url.pattern)


def test_every_page_and_action_is_in_the_tables() -> None:
    assert {label(model) for model in admin.site._registry} == MODELS.keys()
    assert {*named_pages()} == PAGES.keys() | ROW_ACTIONS.keys() | OPEN
    actions = {
        (label(model), name if isinstance(name, str) else name.__name__)
        for model, page in admin.site._registry.items()
        for name in page.actions or ()
    }
    assert actions == ACTIONS.keys()
    assert [name for name, _ in admin.site.actions] == ["delete_selected"]
    assert {*elsewhere(get_resolver())} == ELSEWHERE


def test_the_font_of_icons_has_those_of_the_menu_and_of_all_actions() -> None:
    menu = [
        item["icon"] for group in ADMIN_SITE["SIDEBAR"]["navigation"] for item in group["items"]
    ]
    actions = [
        getattr(page, name).icon
        for page in admin.site._registry.values()
        for name in getattr(page, "actions_detail", ())
        if isinstance(name, str)
    ]
    in_font = {*(Path(settings.BASE_DIR) / "deploy" / "icons.txt").read_text().split()}
    assert {*menu, *actions} - {None} <= in_font


@pytest.mark.parametrize("name", ["notifications_notification_new", "outbox-new", None])
def test_a_page_or_an_action_that_no_table_knows_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    page = admin.site._registry[Notification]
    with monkeypatch.context() as changed:
        changed.setattr(page, "actions", [*(page.actions or ()), "new"])
        with pytest.raises(AssertionError):
            test_every_page_and_action_is_in_the_tables()
    urls = [path("<path:object_id>/new/", lambda _: HttpResponse(), name=name), *page.get_urls()]
    monkeypatch.setattr(page, "get_urls", lambda: urls)
    with pytest.raises(AssertionError):
        test_every_page_and_action_is_in_the_tables()


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


def furnished() -> Any:
    """Make a row of each model, in a state from which each action can move it on."""
    cache.clear()
    roles.make()
    now = datetime.now(UTC)

    def ended(status: str, **fields: Any) -> Notification:
        row = send(subject="S", body="B", **fields)
        Notification.objects.filter(pk=row.pk).update(status=status, due_at=None, finished_at=now)
        return row

    waits = send(channel="simulator", recipient="ada", body="B", countdown=600)
    captured = ended("sent", channel="email", recipient="ada@example.org")
    OutboxMessage.objects.create(
        notification=captured, channel="email", recipient="ada@example.org", content={"body": "B"}
    )
    dead = ended("failed", channel="simulator", recipient="ada")
    FailedDelivery.objects.create(
        notification=dead,
        channel="simulator",
        priority="medium",
        reason="rejected",
        error_class="E",
        fingerprint="f" * 32,
        created_at=now,
    )
    archive.keep([captured.id])
    interval = IntervalSchedule.objects.create(every=9, period="seconds")
    tasks = [
        PeriodicTask.objects.create(
            name=name,
            task="notifications.send_notification",
            kwargs=json.dumps({"channel": "simulator", "recipient": "ada", "body": "B"}),
            interval=interval,
            enabled=name != "paused",
        )
        for name in ("active", "paused")
    ]
    for task in tasks:
        Schedule.objects.get_or_create(pk=task.pk)
    fire = Fire.objects.create(
        schedule_id=tasks[0].pk,
        scheduled_for=now - timedelta(hours=1),
        fire_at=now - timedelta(hours=1),
        finished_at=now - timedelta(minutes=50),
        status=FireStatus.FAILED,
        cause="c" * 32,
        history=[],
    )
    template = Template.objects.create(name="code", channel="simulator", category="transactional")
    parts = {"subject": "S", "body": "B {{ code }}"}
    archived, published, draft = (
        create_version(template, parts, sample_context={"code": "1"}) for _ in range(3)
    )
    publish(archived)
    publish(published)
    log.record(log.Who(log.Kind.PERSON, "ada"), "hold.add")
    rows = {
        Group: Group.objects.get(name="viewer"),
        User: User.objects.create_user("eve", "eve@example.org"),
        AuditEntry: AuditEntry.objects.first(),
        ClockedSchedule: ClockedSchedule.objects.create(clocked_time=now),
        CrontabSchedule: CrontabSchedule.objects.create(),
        IntervalSchedule: IntervalSchedule.objects.create(every=77),
        PeriodicTask: tasks[0],
        SolarSchedule: SolarSchedule.objects.create(event="sunset", latitude=1, longitude=1),
        GroupResult: GroupResult.objects.create(group_id="g"),
        TaskResult: TaskResult.objects.create(task_id="t"),
        ApiKey: api_keys.create("shop").row,
        ArchivedNotification: ArchivedNotification.objects.get(),
        Audience: Audience.objects.create(name="all", filter={"everyone": True}),
        Batch: Batch.objects.create(name="b", closed_at=now),
        BulkReplay: BulkReplay.objects.create(fingerprint="f", total=1, per_second=1, last_id=1),
        Category: Category.objects.create(name="report"),
        Throttle: Throttle.objects.create(category="report", limit=3),
        Chain: Chain.objects.create(
            name="c", steps=[{"channel": "sms", "body": "B", "recipient": "+436641234567"}]
        ),
        ChainRun: ChainRun.objects.create(chain="c", stop_on="sent", waits=[60, 0]),
        DeliveryWindow: DeliveryWindow.objects.create(
            category="report", begins="08:00", ends="20:00"
        ),
        Event: Event.objects.create(name="a.b", data={"to": "x@example.org"}, content_hash="x"),
        EventRule: EventRule.objects.create(
            name="r", event="a.b", channel="simulator", recipients="data.to", template="code"
        ),
        FailedDelivery: FailedDelivery.objects.get(),
        Hold: Hold.objects.create(scope="account", value="mail-b"),
        Notification: waits,
        Project: Project.objects.create(name="shop"),
        ProviderAccount: ProviderAccount.objects.create(
            name="mail-a", channel="simulator", kind="simulator"
        ),
        QuarantinedRow: QuarantinedRow.objects.create(
            loop="retention", key="1", first_seen_at=now, last_seen_at=now, quarantined_at=now
        ),
        QueueWeight: QueueWeight.objects.create(queue="email.low", weight=3),
        RateLimit: RateLimit.objects.create(scope="recipient", channel="email", rate="5/m"),
        Recipient: Recipient.objects.create(key="customer-17"),
        Suppression: Suppression.objects.create(channel="email", recipient="x@example.org"),
        Fire: fire,
        Partial: Partial.objects.create(name="foot", source="x"),
        Template: template,
        TemplateVersion: draft,
    }
    others = {
        "resume": tasks[1],
        "resume_selected": tasks[1],
        "resume_it": Batch.objects.create(name="q", state="paused", closed_at=now),
        "batch.resume": Batch.objects.create(name="p", state="paused", closed_at=now),
        "roll_back": archived,
        "release_account": ProviderAccount.objects.create(
            name="mail-b", channel="simulator", kind="simulator"
        ),
    }
    fingerprint = rows[FailedDelivery].fingerprint
    addresses = {
        "notifications_faileddelivery_replay_cause": [fingerprint],
        "notifications_faileddelivery_discard_cause": [fingerprint],
        "notifications_template_variables": [template.pk],
        "templates_engine_templateversion_preview_page": [draft.pk],
        "templates_engine_templateversion_preview": [draft.pk],
        "templates_engine_templateversion_compare_page": [draft.pk],
        "templates_engine_templateversion_compare": [draft.pk],
        "auth_user_password_change": [rows[User].pk],
        "outbox-message": [OutboxMessage.objects.get().pk],
        "batch-errors": [rows[Batch].pk],
        "notifications_batch_progress": [rows[Batch].pk],
    }
    assert {label(model) for model in rows} == MODELS.keys()
    return rows, others, addresses


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
        model = next(one for one in rows if label(one) == named)
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
